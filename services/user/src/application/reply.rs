//! What a caller gets back, and its stored form.
//!
//! What has tokens in it answers commands without a request id alone: it is never stored.

use openorder_messaging::stored_reply;
use openorder_proto::user::v1::{
    ApiKey, AuthenticateResponse, ChangePasswordResponse, RefreshTokenResponse, RotateSigningKeysResponse,
    SignOutResponse, User,
};

stored_reply! {
    pub enum UserReply, noted = 9 {
        1 = User(User),
        2 = ApiKey(ApiKey),
        3 = PasswordChanged(ChangePasswordResponse),
        4 = SigningKey(RotateSigningKeysResponse),
        5 = SignedIn(AuthenticateResponse),
        6 = Refreshed(RefreshTokenResponse),
        7 = SignedOut(SignOutResponse),
    }
}
