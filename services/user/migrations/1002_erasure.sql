-- Users may be erased: their rows stay, without the person.
alter table user_account drop constraint user_account_state_check;
-- openorder.user.v1.UserState: 1 active, 2 disabled, 3 erased. An erased one has a mail address that nobody can have.
alter table user_account add constraint user_account_state_check check (state between 1 and 3);
