-- The API: tokens, what a tenant may see and do, and what makes a repeated call harmless.
--
-- Every transaction of an API process says whose it is: `ergon.tenant` holds a tenant's id, or `ergon.all_tenants` is on
-- for a token that is bound to none. Row-level security does the rest, for every statement of every member of ergon_api;
-- where nothing was said, nothing is seen. Everybody else (applications, the owner of the schema, workers, whose functions
-- run as that owner) has the rows that they had: a policy that is restrictive and for ergon_api alone, beside one for all
-- that permits everything.
create function jobs.sees_all_tenants() returns boolean
language sql stable as $$
  select coalesce(current_setting('ergon.all_tenants', true), '') = 'on';
$$;
create function jobs.current_tenant() returns uuid
language sql stable as $$
  select nullif(current_setting('ergon.tenant', true), '')::uuid;
$$;
-- The same word for a statement that is a transaction of its own. Whatever else the statement reads must hang on its answer
-- (a lateral sub-select behind `offset 0`), or the setting could come too late; too late shows nothing.
create function jobs.enter_tenant(p_tenant text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if p_tenant = 'all' then
    perform set_config('ergon.all_tenants', 'on', true);
  else
    perform set_config('ergon.tenant', p_tenant, true);
  end if;
  return true;
end $$;
grant execute on function jobs.sees_all_tenants(), jobs.current_tenant(), jobs.enter_tenant(text) to ergon_api;

-- Tokens -------------------------------------------------------------------------------------------------------------
create table jobs.tb_api_token (
  token_id uuid primary key,
  name text not null,
  -- SHA-256 of 32 random bytes: what is drawn at random needs no slow hash.
  secret_digest bytea not null,
  scopes text[] not null,
  -- Null sees every tenant, and jobs of none.
  tenant_id uuid,
  rate_limit_per_minute integer,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null default session_user,
  expires_at timestamptz,
  revoked_at timestamptz,
  constraint ck_api_token_name check (octet_length(name) between 1 and 200),
  constraint ck_api_token_digest check (octet_length(secret_digest) = 32),
  constraint ck_api_token_scopes check (
    cardinality(scopes) > 0 and scopes <@ array['submit', 'read', 'cancel', 'artifacts', 'admin']),
  constraint ck_api_token_rate check (rate_limit_per_minute between 1 and 10000000)
);
comment on column jobs.tb_api_token.tenant_id is 'null: every tenant';

-- One by one, and no list: whoever takes the API over learns the digests of tokens whose ids it has seen.
create function jobs.find_api_token(p_token_id uuid)
returns table (name text, secret_digest bytea, scopes text[], tenant_id uuid, rate_limit_per_minute integer, expires_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select t.name, t.secret_digest, t.scopes, t.tenant_id, t.rate_limit_per_minute, t.expires_at
  from jobs.tb_api_token t
  where t.token_id = p_token_id and t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp());
$$;

-- API processes keep what they looked up for some seconds; they are told when it does not hold any more.
create function jobs.tg_tell_token_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('ergon_token', old.token_id::text);
  return null;
end $$;
create trigger tg_tell_token_change after update or delete on jobs.tb_api_token
  for each row execute function jobs.tg_tell_token_change();

-- Signs the addresses of artifacts. In the database, since several API processes have to agree on it.
create table jobs.tb_api_signing_key (
  key_id integer primary key generated always as identity,
  key bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
  created_at timestamptz not null default clock_timestamp()
);
insert into jobs.tb_api_signing_key default values;
create function jobs.api_signing_key() returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select k.key from jobs.tb_api_signing_key k order by k.key_id desc limit 1;
$$;

-- Repeated calls -----------------------------------------------------------------------------------------------------
-- A key belongs to its tenant for 24 hours, with the jobs that its first use made.
create table jobs.tb_api_idempotency (
  tenant_id uuid,
  idempotency_key text not null,
  -- SHA-256 of method, path and body.
  fingerprint bytea not null,
  job_ids uuid[] not null,
  created_at timestamptz not null default clock_timestamp(),
  unique nulls not distinct (tenant_id, idempotency_key),
  constraint ck_api_idempotency_key check (octet_length(idempotency_key) between 1 and 255),
  constraint ck_api_idempotency_fingerprint check (octet_length(fingerprint) = 32)
);
create index ix_api_idempotency_created on jobs.tb_api_idempotency (created_at);

create function jobs.forget_idempotency_keys(p_most integer) returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
  with old as (
    select i.ctid from jobs.tb_api_idempotency i where i.created_at < clock_timestamp() - interval '24 hours'
    order by i.created_at limit p_most for update skip locked
  ), gone as (
    delete from jobs.tb_api_idempotency i using old where i.ctid = old.ctid returning 1
  )
  select count(*) from gone;
$$;

-- Tenants ------------------------------------------------------------------------------------------------------------
-- The sub-selects are looked up once a statement. No index follows from the tenant's, so lists say whose jobs they want too.
do $$
declare
  relation text;
  command text;
  visible text;
begin
  for relation, command, visible in
    select t.name, 'all', '(select jobs.sees_all_tenants()) or t.tenant_id = (select jobs.current_tenant())'
    from unnest(array['tb_job_run', 'tb_job_queue', 'tb_artifact', 'tb_job_callback', 'tb_api_idempotency']) t (name)
    union all
    -- What belongs to a job is seen by whoever sees the job. Behind the offset it is looked up by its key, and not read with all others.
    select t.name, 'select', 'exists (select from jobs.tb_job_run j where j.id = t.job_id offset 0)'
    from unnest(array['tb_job_output', 'tb_job_attempt', 'tb_late_result', 'tb_audit']) t (name)
    union all
    -- Nobody's in particular: machines and money.
    select t.name, 'all', '(select jobs.sees_all_tenants())'
    from unnest(array['tb_job_worker', 'tb_service_cost']) t (name)
  loop
    visible := replace(visible, 't.', relation || '.');
    execute format('alter table jobs.%I enable row level security', relation);
    execute format('create policy everyone on jobs.%I using (true) with check (true)', relation);
    execute format('create policy tenant on jobs.%I as restrictive for %s to ergon_api using (%s)', relation, command, visible);
  end loop;
end $$;

-- Functions that run as their owner see every tenant. The API does as an application does: it inserts, and sets a status.
revoke execute on function
  jobs.enqueue_job(text, text, jsonb, text, uuid, text, text, jsonb, jsonb, integer, integer, uuid, uuid, text, text, text, smallint,
                   timestamptz, text, text, text, text, text),
  jobs.cancel_job(uuid), jobs.retry_job(uuid), jobs.retry_callback(bigint), jobs.explain_wait(uuid),
  jobs.register_dataset(uuid, text, text, text, bigint, text)
  from ergon_api;
grant insert (id, identifier, idempotency_key, service_name, operation, input_data, execution_type, max_attempts, timeout_seconds,
              tenant_id, triggered_by, correlation_id, entity_type, entity_pk, priority, run_at, queue, concurrency_key,
              execution_key, on_worker_lost, traceparent), update (status)
  on jobs.tb_job_run to ergon_api;
grant insert (artifact_id, tenant_id, kind, format, name, digest, size_bytes, content_type) on jobs.tb_artifact to ergon_api;
grant insert (job_id, identifier, entry), select (cluster, xid, seq, recorded_at, job_id) on jobs.tb_audit to ergon_api;
grant select, insert, update (fingerprint, job_ids, created_at) on jobs.tb_api_idempotency to ergon_api;
grant execute on function
  jobs.find_api_token(uuid), jobs.api_signing_key(), jobs.forget_idempotency_keys(integer), jobs.cluster_id() to ergon_api;

-- Of a job that the caller's tenant has.
create function jobs.explain_tenant_wait(p_job_id uuid)
returns table (state text, lane text, gate text, reason text, waits_until timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select w.* from jobs.tb_job_run j cross join lateral jobs.explain_wait(j.id) w
  where j.id = p_job_id and (jobs.sees_all_tenants() or j.tenant_id = jobs.current_tenant());
$$;
grant execute on function jobs.explain_tenant_wait(uuid) to ergon_api;

create function jobs.retry_tenant_callback(p_callback_id bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform from jobs.tb_job_callback c
  where c.callback_id = p_callback_id and (jobs.sees_all_tenants() or c.tenant_id = jobs.current_tenant());
  return case when found then jobs.retry_callback(p_callback_id) else 'not_found' end;
end $$;
grant execute on function jobs.retry_tenant_callback(bigint) to ergon_api;

-- A job that is cancelled before it runs has an entry too: a trail without it would show a submission and no end.
create trigger tg_6_audit_cancelled_early after update on jobs.tb_job_run
  for each row when (old.status = 'pending' and new.status = 'cancelled') execute function jobs.tg_audit_cancelled();

-- Live streams ---------------------------------------------------------------------------------------------------------
-- Null for what is no JSON: an entry is any text, and one that cannot be read must not end a feed.
create function jobs.read_audit_entry(p_entry text) returns jsonb
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
begin
  return p_entry::jsonb;
exception when others then
  return null;
end $$;

-- Where the audit trail stands: below the horizon nothing comes any more, and the newest entry below it.
create function jobs.audit_position() returns table (cluster bigint, horizon xid8, newest_xid xid8, newest_seq bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  here bigint := jobs.cluster_id();
  horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
begin
  return query
  select here, horizon, a.xid, a.seq
  from (select) one
  left join lateral (select a.xid, a.seq from jobs.tb_audit a where a.cluster = here and a.xid < horizon
                     order by a.xid desc, a.seq desc limit 1) a on true;
end $$;

-- Ends of attempts behind a position, of jobs that the caller's tenant has, in the order of the trail; looks at no more
-- than p_most entries. Every row says where to go on; without an end to tell there is one row that says only that.
-- Another cluster's entries came with a dump, so they are complete, and this cluster's come after them.
create function jobs.list_job_ends(p_cluster bigint, p_xid xid8, p_seq bigint, p_most integer)
returns table (next_cluster bigint, next_xid xid8, next_seq bigint, has_more boolean, xid xid8, seq bigint, recorded_at timestamptz,
               job_id uuid, event text, attempt integer, outcome text, category text, code text)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  here bigint := jobs.cluster_id();
  horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
begin
  return query
  with scanned as materialized (
    select a.xid, a.seq, a.recorded_at, a.job_id, a.entry
    from jobs.tb_audit a
    where a.cluster = p_cluster and (a.xid, a.seq) > (p_xid, p_seq) and (p_cluster <> here or a.xid < horizon)
    order by a.xid, a.seq limit p_most
  ), ending as materialized (
    select s.xid, s.seq, s.recorded_at, s.job_id, jobs.read_audit_entry(s.entry) as said
    from scanned s
    where exists (select from jobs.tb_job_run j
                  where j.id = s.job_id and (jobs.sees_all_tenants() or j.tenant_id = jobs.current_tenant()))
  ), reached as (
    select true as is_cut, p_cluster as cluster, l.xid, l.seq
    from (select s.xid, s.seq from scanned s order by s.xid desc, s.seq desc limit 1) l
    where (select count(*) from scanned) >= p_most
    union all
    select false, here, case when p_cluster <> here then '0' when horizon > p_xid then horizon else p_xid end,
           case when p_cluster <> here or horizon > p_xid then 0 else p_seq end
    where (select count(*) from scanned) < p_most
  )
  select r.cluster, r.xid, r.seq, r.is_cut or r.cluster <> p_cluster, e.xid, e.seq, e.recorded_at, e.job_id, e.said ->> 'event',
         case when e.said #>> '{job,attempt}' ~ '^\d{1,9}$' then (e.said #>> '{job,attempt}')::integer end,
         e.said #>> '{happened,outcome}', e.said #>> '{happened,category}', e.said #>> '{happened,code}'
  from reached r
  left join ending e on e.said ->> 'event' in ('ended', 'lost', 'cancelled')
  order by e.xid, e.seq;
end $$;

-- Why jobs wait, many at once.
create function jobs.explain_tenant_waits(p_job_ids uuid[])
returns table (job_id uuid, state text, lane text, gate text, reason text, waits_until timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
  select g.job_id, w.* from unnest(p_job_ids) g (job_id) cross join lateral jobs.explain_tenant_wait(g.job_id) w;
$$;
grant execute on function
  jobs.audit_position(), jobs.list_job_ends(bigint, xid8, bigint, integer), jobs.explain_tenant_waits(uuid[]) to ergon_api;
