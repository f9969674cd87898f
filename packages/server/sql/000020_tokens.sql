-- Whoever names an entity chooses which callbacks the end of a job calls: a scope of its own, which no token has until it is given one.
alter table jobs.tb_api_token
  drop constraint ck_api_token_scopes,
  add constraint ck_api_token_scopes check (
    cardinality(scopes) > 0 and scopes <@ array['submit', 'entities', 'read', 'cancel', 'artifacts', 'admin']);

-- Whose token cancels or retries: an API process says the token, `ergon.token`, in the transaction of the change, and the
-- database looks for itself whether there is such a token for such a job. Who is not in ergon_api names nobody; a change in
-- the name of a token that may not be it is refused, since an entry that says somebody else is worse than none.
create function jobs.audit_token(p_tenant_id uuid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  claimed text := nullif(current_setting('ergon.token', true), '');
  token_name text;
begin
  if claimed is null or not pg_has_role(session_user, 'ergon_api', 'member') then
    return null;
  end if;
  select t.name into token_name from jobs.tb_api_token t
  where t.token_id = claimed::uuid and t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp())
    and 'cancel' = any (t.scopes) and (t.tenant_id is null or t.tenant_id = p_tenant_id);
  if not found then
    raise exception using
      errcode = 'JB050',
      message = 'TOKEN_INVALID: the token has ended, or may not do this to a job of this tenant';
  end if;
  return jsonb_build_object('token_id', claimed::uuid, 'token_name', token_name,
                            'request_id', left(nullif(current_setting('ergon.request_id', true), ''), 100));
end $$;

create function jobs.compose_change(p_event text, p_job jobs.tb_job_run, p_happened jsonb) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select (jobs.compose_audit(p_event, p_job, p_job.attempts,
                             (select q.worker_id from jobs.tb_job_queue q where q.job_id = p_job.id), p_happened)::jsonb
          || jsonb_strip_nulls(jsonb_build_object('by', jobs.audit_token(p_job.tenant_id))))::text;
$$;

create or replace function jobs.tg_audit_cancelled() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform jobs.append_audit(new.id, jobs.compose_change('cancelled', new,
    jsonb_build_object('outcome', 'cancelled', 'started_at', new.started_at)));
  return null;
end $$;

-- By whoever. Without it a trail would show attempts after the last one and not who wanted them.
create function jobs.tg_audit_retried() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform jobs.append_audit(new.id, jobs.compose_change('retried', new,
    jsonb_build_object('outcome', 'queued', 'category', old.failure_category, 'code', old.failure_code)));
  return null;
end $$;
create trigger tg_6_audit_retried after update on jobs.tb_job_run
  for each row when (old.status = 'failed' and new.status = 'pending') execute function jobs.tg_audit_retried();

-- What the API writes itself. All else is the database's word, or a worker's, which an API process must not put into their mouths.
create policy own_entries on jobs.tb_audit as restrictive for insert to ergon_api
  with check (entry::jsonb ->> 'event' in ('submitted', 'url_issued'));
