-- Intents of which no entry was ever written: they did nothing, nobody can find them in the trail, and they counted as
-- unfinished for ever. An intent and its entry are written in one transaction now.
delete from act
where outcome is null and frozen is null and alive_at < now() - interval '1 hour'
  and not exists (select from audit_entry where audit_entry.audit_entry_id = act.audit_entry_id);
