//! The methods of a gRPC service as a table: who may call each one, and which function answers it.

use openorder_types::{CallError, Rejection, Role};
use tonic::{Request, Status};

use crate::{CallContext, rejection, status};

#[doc(hidden)]
pub use tonic::{Request as TonicRequest, Response, Status as TonicStatus, async_trait};

/// Who may call a method: each function is one of the words that [`calls!`](crate::calls) knows.
pub mod access {
    use super::{CallContext, Rejection, Request, Role, Status, rejection};

    /// Whoever says who it is.
    ///
    /// # Errors
    ///
    /// As [`crate::caller_of`].
    pub fn anyone<T>(request: &Request<T>) -> Result<CallContext, Status> {
        CallContext::of(request).map_err(rejection)
    }

    /// Operators and services.
    ///
    /// # Errors
    ///
    /// As [`anyone`], and `ROLE_REQUIRED`.
    pub fn staff<T>(request: &Request<T>) -> Result<CallContext, Status> {
        let call = anyone(request)?;
        call.caller.must_be_staff().map_err(rejection)?;
        Ok(call)
    }

    /// Operators, services and viewers, of what is read alone.
    ///
    /// # Errors
    ///
    /// As [`anyone`], and `ROLE_REQUIRED`.
    pub fn staff_reads<T>(request: &Request<T>) -> Result<CallContext, Status> {
        let call = anyone(request)?;
        match call.caller.reads_all() {
            true => Ok(call),
            false => Err(refused("only operators, services and viewers may do this")),
        }
    }

    /// Operators only: a person answers for it, and a service is not one.
    ///
    /// # Errors
    ///
    /// As [`anyone`], and `ROLE_REQUIRED`.
    pub fn operator<T>(request: &Request<T>) -> Result<CallContext, Status> {
        let call = anyone(request)?;
        match call.caller.is_operator() {
            true => Ok(call),
            false => Err(refused("only operators may do this")),
        }
    }

    /// Operators and viewers, of what is read alone.
    ///
    /// # Errors
    ///
    /// As [`anyone`], and `ROLE_REQUIRED`.
    pub fn operator_reads<T>(request: &Request<T>) -> Result<CallContext, Status> {
        let call = anyone(request)?;
        match call.caller.is_operator() || call.caller.has(Role::Viewer) {
            true => Ok(call),
            false => Err(refused("only operators and viewers may do this")),
        }
    }

    fn refused(text: &str) -> Status {
        rejection(Rejection::permission_denied("ROLE_REQUIRED", text))
    }
}

/// What a function of a service fails with, as its caller is answered.
pub trait IntoStatus {
    /// The answer.
    fn into_status(self) -> Status;
}

impl IntoStatus for CallError {
    fn into_status(self) -> Status {
        status(self)
    }
}

/// What another service answered, passed on.
impl IntoStatus for Status {
    fn into_status(self) -> Status {
        self
    }
}

/// Implements the trait of a gRPC service from a table with a line for each method:
///
/// ```text
/// calls! {
///     impl StockService for StockGrpc {
///         adjust_stock(AdjustStockRequest) -> AdjustStockResponse = adjust, staff;
///         watch_stock(WatchStockRequest) -> WatchStream as WatchStockStream = watch, anyone;
///     }
/// }
/// ```
///
/// The function is a method of the server, `async fn adjust(&self, call: CallContext, message: AdjustStockRequest) ->
/// Result<AdjustStockResponse, impl IntoStatus>`. It is called for those whom the last word lets in, a function of
/// [`access`]. A method that answers with a stream names the trait's associated type after `as`.
#[macro_export]
macro_rules! calls {
    (impl $service:ident for $server:ty {
        $($method:ident($request:ty) -> $response:ty $(as $stream:ident)? = $function:ident, $access:ident;)*
    }) => {
        #[$crate::calls::async_trait]
        impl $service for $server {
            $(
                $( type $stream = $response; )?

                async fn $method(
                    &self,
                    request: $crate::calls::TonicRequest<$request>,
                ) -> ::std::result::Result<$crate::calls::Response<$response>, $crate::calls::TonicStatus> {
                    let call = $crate::calls::access::$access(&request)?;
                    let answer = self.$function(call, request.into_inner()).await;
                    answer.map($crate::calls::Response::new).map_err($crate::calls::IntoStatus::into_status)
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    use openorder_telemetry::TraceContext;
    use openorder_types::Caller;

    use super::*;
    use crate::reason_of;

    #[test]
    fn each_word_lets_in_whom_it_names_and_nobody_else() {
        let request = |roles: &[Role]| {
            let caller = Caller::new("ada", roles.to_vec());
            CallContext { caller, trace: TraceContext::NONE, deadline: None }.request(())
        };
        type Access = fn(&Request<()>) -> Result<CallContext, Status>;
        let words: [(&str, Access); 5] = [
            ("anyone", access::anyone),
            ("staff", access::staff),
            ("staff_reads", access::staff_reads),
            ("operator", access::operator),
            ("operator_reads", access::operator_reads),
        ];
        let let_in = |roles: &[Role]| {
            let names = words.iter().filter(|(_, access)| match access(&request(roles)) {
                Ok(call) => call.caller.subject == "ada",
                Err(status) => {
                    assert_eq!(reason_of(&status).as_deref(), Some("ROLE_REQUIRED"));
                    false
                }
            });
            names.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        assert_eq!(let_in(&[]), ["anyone"]);
        assert_eq!(let_in(&[Role::Customer]), ["anyone"]);
        assert_eq!(let_in(&[Role::Service]), ["anyone", "staff", "staff_reads"]);
        assert_eq!(let_in(&[Role::Operator]), ["anyone", "staff", "staff_reads", "operator", "operator_reads"]);
        assert_eq!(let_in(&[Role::Viewer]), ["anyone", "staff_reads", "operator_reads"]);
        for (name, access) in words {
            let Err(status) = access(&Request::new(())) else { panic!("{name} lets in who does not say who calls") };
            assert_eq!(reason_of(&status).as_deref(), Some("CALLER_MISSING"));
        }
    }
}
