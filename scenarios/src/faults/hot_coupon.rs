//! Everybody wants a coupon.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use openorder_proto::promotion::v1::IssuedCoupon;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    Outcome, Servers,
    faults::Length,
    fleet::Fleet,
    load::{Load, Plan},
    shop::{Shop, id},
};

/// Callers at a time.
const AT_ONCE: usize = 64;
/// One caller of so many asks once more when it has its answer: it may have one coupon.
const ASKED_AGAIN_EVERY: u64 = 50;
const TRY_BOUND: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// What the callers were told.
#[derive(Default)]
struct Told {
    issued: Vec<IssuedCoupon>,
    sold_out: u64,
    limit_reached: u64,
    /// Anything else, which is a fault.
    other: Vec<String>,
}

/// Ten callers for each coupon, each caller another user, while instances of the service are killed: exactly as many are
/// issued as there are, each with its own ordinal, and nobody has two.
pub async fn hot_coupon(servers: Servers, length: Length) -> (Servers, Outcome) {
    let (coupons, kills) = (length.pick(200, 10_000), length.pick(2, 10));
    let callers = coupons as u64 * 10;
    let mut fleet = Fleet::start(servers, &[]).await;
    for _ in 0..2 {
        fleet.add("promotion").await;
    }
    fleet.ready().await;
    // Orders flow beside it, one in five with a coupon of another kind.
    let load = Load::start(&fleet, Plan { callers: 2, pause: Duration::from_millis(200), ..Plan::default() }).await;
    let code = format!("HOT-{}", &id("c")[2..22].to_uppercase());
    fleet.shop().coupon(&code, coupons, 1).await;
    let next = Arc::new(AtomicU64::new(0));
    let at_work = (0..AT_ONCE).map(|_| tokio::spawn(ask(fleet.shop(), code.clone(), Arc::clone(&next), callers)));
    let at_work: Vec<_> = at_work.collect();
    let began = Instant::now();
    for kill in 1..=kills {
        // All over the time in which there are coupons.
        while next.load(Ordering::Relaxed) < callers * kill / (kills * 4) && began.elapsed() < Duration::from_secs(120)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let running = fleet.running("promotion");
        let index = running[kill as usize % running.len()];
        fleet.kill(index).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        fleet.launch(index).await;
    }
    let mut told = Told::default();
    for one in at_work {
        let one = one.await.expect("a caller does not fail");
        told.issued.extend(one.issued);
        told.sold_out += one.sold_out;
        told.limit_reached += one.limit_reached;
        told.other.extend(one.other);
    }
    let asked_for = began.elapsed();
    fleet.ready().await;
    let recovery = load.probe().await;
    let what = format!("{coupons} coupons for {callers} callers, {kills} × SIGKILL of who issues them");
    let names = load.names().clone();
    let ledger = load.stop().await;
    let mut outcome = Outcome::of(&fleet, &names, ledger).await.broken(&what, kills as usize, recovery);
    let ordinals: BTreeSet<i32> = told.issued.iter().map(|issued| issued.ordinal).collect();
    let users: BTreeSet<&str> = told.issued.iter().map(|issued| issued.user_id.as_str()).collect();
    let whole = coupons as usize;
    outcome
        .expect(told.other.is_empty(), format!("{} other answers, such as {:?}", told.other.len(), told.other.first()));
    outcome.expect(
        ordinals.len() == whole && ordinals.first() == Some(&1) && ordinals.last() == Some(&coupons),
        format!("{} ordinals were told, from {:?} to {:?}", ordinals.len(), ordinals.first(), ordinals.last()),
    );
    outcome.expect(users.len() == whole, format!("{} users were issued one", users.len()));
    outcome.expect(
        told.limit_reached > 0 && told.limit_reached <= callers / ASKED_AGAIN_EVERY,
        format!("{} who had one were told so", told.limit_reached),
    );
    outcome.expect(
        told.sold_out + whole as u64 == callers,
        format!("{} of {callers} callers were told that there is none left", told.sold_out),
    );
    outcome.notes.push(format!(
        "{} issued, {:.0} answers a second",
        users.len(),
        callers as f64 / asked_for.as_secs_f64()
    ));
    super::judged(fleet, outcome).await
}

/// Asks for users that nobody else asks for. A request id is sent until it is answered.
async fn ask(shop: Shop, code: String, next: Arc<AtomicU64>, callers: u64) -> Told {
    let mut told = Told::default();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= callers {
            return told;
        }
        let user = format!("{}-{number}", code.to_lowercase());
        let had = until_answered(&shop, &code, &user, &mut told).await;
        if had && number.is_multiple_of(ASKED_AGAIN_EVERY) {
            until_answered(&shop, &code, &user, &mut told).await;
        }
    }
}

/// Whether the user was issued one.
async fn until_answered(shop: &Shop, code: &str, user: &str, told: &mut Told) -> bool {
    let request_id = id("issue");
    loop {
        match tokio::time::timeout(TRY_BOUND, shop.issue_as(&request_id, code, user)).await {
            Ok(Ok(issued)) => {
                told.issued.push(issued);
                return true;
            }
            Ok(Err(status)) if status.code() == Code::FailedPrecondition => {
                match status.get_details_error_info().map_or(String::new(), |info| info.reason).as_str() {
                    "COUPON_SOLD_OUT" => told.sold_out += 1,
                    "COUPON_LIMIT_REACHED" => told.limit_reached += 1,
                    reason => told.other.push(reason.to_owned()),
                }
                return false;
            }
            Ok(Err(status)) if !crate::load::is_transient(status.code()) => {
                told.other.push(format!("{:?} {}", status.code(), status.message()));
                return false;
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
