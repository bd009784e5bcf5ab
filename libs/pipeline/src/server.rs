//! The calls: parse, ask the desk, answer.

use openorder_messaging::desk::{Discard, Filter, ReplayRequest};
use openorder_proto::internal::operations::v1::{
    CancelGroupReplayRequest, CancelGroupReplayResponse, CountEventsRequest, CountEventsResponse,
    CountGroupReplayRequest, CountGroupReplayResponse, DiscardGroupDeadLettersRequest, DiscardGroupDeadLettersResponse,
    GetGroupDeadLetterRequest, GetGroupDeadLetterResponse, GetGroupReplayRequest, GetGroupReplayResponse,
    GetPipelineStateRequest, GetPipelineStateResponse, ListGroupCausesRequest, ListGroupCausesResponse,
    ListGroupDeadLettersRequest, ListGroupDeadLettersResponse, ListGroupParkedMessagesRequest,
    ListGroupParkedMessagesResponse, ReadEventsRequest, ReadEventsResponse, RedeliverEventsRequest,
    RedeliverEventsResponse, StartGroupReplayRequest, StartGroupReplayResponse,
    pipeline_service_server::PipelineService,
};
use openorder_rpc::{CallContext, calls, fill, query_failed};
use openorder_types::{CallError, Fault, Rejection};

use crate::{Server, parse, present, present::Counted};

/// Letters of one discard at most: they leave in one transaction.
const DISCARDED_MAX: usize = 100;
/// Pages of the log that one count looks at.
const COUNTED_PAGES_MAX: usize = 20;
/// Bytes of a page, which one item alone may go beyond.
const PAGE_BYTES_MAX: usize = 1 << 20;

impl Server {
    async fn state(&self, _: CallContext, _: GetPipelineStateRequest) -> Result<GetPipelineStateResponse, CallError> {
        let pipeline = &self.pipeline;
        let role = pipeline.desk.group();
        let dependencies = self.readiness.snapshot().into_iter().filter(|state| state.role == role).collect();
        let counted = self.counted().await.inspect_err(|fault| tracing::warn!(%fault, "nothing can be counted")).ok();
        Ok(GetPipelineStateResponse {
            state: Some(present::state(dependencies, counted)),
            consumed_topics: pipeline.desk.topics().iter().map(|topic| (*topic).to_owned()).collect(),
        })
    }

    async fn counted(&self) -> Result<Counted, Fault> {
        let unpublished = openorder_messaging::unpublished(&self.pipeline.backbone).await?;
        let counts = self.pipeline.desk.counts().await?;
        let sagas = match &self.pipeline.count_sagas {
            Some(count) => count().await?,
            None => Vec::new(),
        };
        Ok(Counted { unpublished, counts, sagas })
    }

    async fn dead_letters(
        &self,
        _: CallContext,
        message: ListGroupDeadLettersRequest,
    ) -> Result<ListGroupDeadLettersResponse, CallError> {
        let desk = &self.pipeline.desk;
        let (filter, after) = (parse::filter(message.filter)?, parse::after(message.after_sequence));
        let page =
            desk.dead_letters(&filter, after, parse::page_size(message.page_size)).await.map_err(query_failed)?;
        let sequences: Vec<_> = page.items.iter().map(|letter| letter.sequence).collect();
        let letters = page.items.into_iter().map(|letter| present::dead_letter(desk.group(), letter));
        let dead_letters = fill(letters, usize::MAX, PAGE_BYTES_MAX);
        let next_sequence = next(&sequences, dead_letters.len(), page.next);
        Ok(ListGroupDeadLettersResponse { dead_letters, next_sequence })
    }

    async fn causes(
        &self,
        _: CallContext,
        message: ListGroupCausesRequest,
    ) -> Result<ListGroupCausesResponse, CallError> {
        let desk = &self.pipeline.desk;
        let filter = parse::filter(message.filter)?;
        let found = desk.causes(&filter, parse::page_size(message.page_size)).await.map_err(query_failed)?;
        let mut causes = Vec::with_capacity(found.len());
        for cause in found {
            let of_cause = Filter {
                topic: Some(cause.topic.clone()),
                event_type: Some(cause.event_type.clone()),
                reason: Some(cause.error_reason.clone()),
                ..filter.clone()
            };
            let sample = desk.dead_letters(&of_cause, None, 1).await.map_err(query_failed)?.items.pop();
            causes.push(present::cause(desk.group(), cause, sample.map(|letter| letter.sequence)));
        }
        Ok(ListGroupCausesResponse { causes })
    }

    async fn dead_letter(
        &self,
        _: CallContext,
        message: GetGroupDeadLetterRequest,
    ) -> Result<GetGroupDeadLetterResponse, CallError> {
        let desk = &self.pipeline.desk;
        let unknown = || Rejection::not_found("DEAD_LETTER_UNKNOWN", "there is no such dead letter");
        let found = desk.dead_letter(message.sequence).await.map_err(query_failed)?.ok_or_else(unknown)?;
        Ok(GetGroupDeadLetterResponse {
            dead_letter: Some(present::dead_letter(desk.group(), found.dead_letter)),
            payload: found.payload,
            headers: present::headers(found.headers.iter()),
            attempts: found.attempts.into_iter().map(present::attempt).collect(),
        })
    }

    async fn count(
        &self,
        _: CallContext,
        message: CountGroupReplayRequest,
    ) -> Result<CountGroupReplayResponse, CallError> {
        let filter = parse::filter(message.filter)?;
        let count = self.pipeline.desk.count_replay(&filter).await.map_err(query_failed)?;
        Ok(CountGroupReplayResponse {
            items: count.items,
            keys: count.keys,
            waiting_behind: count.waiting_behind,
            in_other_replays: count.in_other_replays,
        })
    }

    async fn start(
        &self,
        call: CallContext,
        message: StartGroupReplayRequest,
    ) -> Result<StartGroupReplayResponse, CallError> {
        let (request_id, reason) = parse::act(&message.request_id, &message.reason)?;
        let request = ReplayRequest {
            request_id,
            requested_by: call.caller.subject,
            reason,
            filter: parse::filter(message.filter)?,
            rate_per_second: u32::try_from(message.rate_per_second).unwrap_or_default(),
            items_max: u32::try_from(message.items_max).unwrap_or_default(),
        };
        let job = self.pipeline.desk.start_replay(&request).await?;
        Ok(StartGroupReplayResponse { replay: Some(present::replay(&job)) })
    }

    async fn replay(
        &self,
        _: CallContext,
        message: GetGroupReplayRequest,
    ) -> Result<GetGroupReplayResponse, CallError> {
        let unknown = || Rejection::not_found("REPLAY_UNKNOWN", "there is no such replay");
        let job = self.pipeline.desk.replay(parse::job_id(&message.job_id)?).await.map_err(query_failed)?;
        Ok(GetGroupReplayResponse { replay: Some(present::replay(&job.ok_or_else(unknown)?)) })
    }

    async fn cancel(
        &self,
        _: CallContext,
        message: CancelGroupReplayRequest,
    ) -> Result<CancelGroupReplayResponse, CallError> {
        let job = self.pipeline.desk.cancel_replay(parse::job_id(&message.job_id)?).await?;
        Ok(CancelGroupReplayResponse { replay: Some(present::replay(&job)) })
    }

    async fn discard(
        &self,
        call: CallContext,
        message: DiscardGroupDeadLettersRequest,
    ) -> Result<DiscardGroupDeadLettersResponse, CallError> {
        if message.sequences.len() > DISCARDED_MAX {
            let bound = format!("must be at most {DISCARDED_MAX}");
            return Err(Rejection::invalid_field("sequences", "TOO_MANY", bound).into());
        }
        let reason = parse::reason(&message.reason)?;
        let discard = Discard { sequences: message.sequences, requested_by: call.caller.subject, reason };
        let done = self.pipeline.desk.discard(&discard).await?;
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(DiscardGroupDeadLettersResponse {
            discarded: count(done.discarded),
            in_replay: count(done.in_replay),
            unknown: count(done.unknown),
        })
    }

    async fn parked(
        &self,
        _: CallContext,
        message: ListGroupParkedMessagesRequest,
    ) -> Result<ListGroupParkedMessagesResponse, CallError> {
        let desk = &self.pipeline.desk;
        let (filter, after) = (parse::filter(message.filter)?, parse::after(message.after_sequence));
        let page = desk.parked(&filter, after, parse::page_size(message.page_size)).await.map_err(query_failed)?;
        let sequences: Vec<_> = page.items.iter().map(|message| message.sequence).collect();
        let messages = page.items.into_iter().map(|message| present::parked_message(desk.group(), message));
        let parked_messages = fill(messages, usize::MAX, PAGE_BYTES_MAX);
        let next_sequence = next(&sequences, parked_messages.len(), page.next);
        Ok(ListGroupParkedMessagesResponse { parked_messages, next_sequence })
    }

    async fn count_events(
        &self,
        _: CallContext,
        message: CountEventsRequest,
    ) -> Result<CountEventsResponse, CallError> {
        let filter = parse::event_filter(message.filter)?;
        let mut answer = CountEventsResponse::default();
        let mut after = parse::after(message.after_position);
        for _ in 0..COUNTED_PAGES_MAX {
            let page = self.pipeline.desk.events(&filter, after, u32::MAX).await.map_err(query_failed)??;
            answer.count += i64::try_from(page.items.len()).unwrap_or(i64::MAX);
            answer.last_position = page.items.last().map_or(answer.last_position, |event| event.position);
            answer.next_position = page.next.unwrap_or_default();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(answer)
    }

    async fn read_events(&self, _: CallContext, message: ReadEventsRequest) -> Result<ReadEventsResponse, CallError> {
        let filter = parse::event_filter(message.filter)?;
        let (after, size) = (parse::after(message.after_position), parse::page_size(message.page_size));
        let page = self.pipeline.desk.events(&filter, after, size).await.map_err(query_failed)??;
        let positions: Vec<_> = page.items.iter().map(|event| event.position).collect();
        let events = fill(page.items.into_iter().map(present::logged_event), usize::MAX, PAGE_BYTES_MAX);
        let next_position = next(&positions, events.len(), page.next);
        Ok(ReadEventsResponse { events, next_position })
    }

    async fn redeliver(
        &self,
        _: CallContext,
        message: RedeliverEventsRequest,
    ) -> Result<RedeliverEventsResponse, CallError> {
        let events = parse::logged_events(message.events)?;
        let done = self.pipeline.desk.redeliver(&message.source, &events).await?;
        Ok(RedeliverEventsResponse { accepted: done.accepted.into(), known: done.known.into() })
    }
}

/// What the next page begins after, where so many of these rows fit into this one; 0 when nothing is left.
fn next(rows: &[i64], fitted: usize, after_all: Option<i64>) -> i64 {
    match fitted < rows.len() {
        true => fitted.checked_sub(1).and_then(|last| rows.get(last)).copied().unwrap_or_default(),
        false => after_all.unwrap_or_default(),
    }
}

calls! {
    impl PipelineService for Server {
        get_pipeline_state(GetPipelineStateRequest) -> GetPipelineStateResponse = state, operator_reads;
        list_group_dead_letters(ListGroupDeadLettersRequest) -> ListGroupDeadLettersResponse = dead_letters, operator_reads;
        list_group_causes(ListGroupCausesRequest) -> ListGroupCausesResponse = causes, operator_reads;
        get_group_dead_letter(GetGroupDeadLetterRequest) -> GetGroupDeadLetterResponse = dead_letter, operator_reads;
        count_group_replay(CountGroupReplayRequest) -> CountGroupReplayResponse = count, operator;
        start_group_replay(StartGroupReplayRequest) -> StartGroupReplayResponse = start, operator;
        get_group_replay(GetGroupReplayRequest) -> GetGroupReplayResponse = replay, operator;
        cancel_group_replay(CancelGroupReplayRequest) -> CancelGroupReplayResponse = cancel, operator;
        discard_group_dead_letters(DiscardGroupDeadLettersRequest) -> DiscardGroupDeadLettersResponse = discard, operator;
        list_group_parked_messages(ListGroupParkedMessagesRequest) -> ListGroupParkedMessagesResponse = parked, operator_reads;
        count_events(CountEventsRequest) -> CountEventsResponse = count_events, operator;
        read_events(ReadEventsRequest) -> ReadEventsResponse = read_events, operator;
        redeliver_events(RedeliverEventsRequest) -> RedeliverEventsResponse = redeliver, operator;
    }
}
