-- The audit trail: who had what run, what was allowed, what happened. Rows are plain inserts, in the transaction of what
-- they tell; a worker hashes ranges that are committed for good into a chain of signed seals (a chain row by row would
-- cost two thirds of the throughput). Whoever may change rows has no key, and who has the key may change no row.

-- Names this cluster: transaction ids mean nothing in another one, where a dump may have been restored.
create function jobs.cluster_id() returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (select c.system_identifier from pg_control_system() c);
end $$;

create table jobs.tb_audit (
  cluster bigint not null default jobs.cluster_id(),
  xid xid8 not null default pg_current_xact_id(),
  seq bigint not null generated always as identity,
  recorded_at timestamptz not null default clock_timestamp(),
  -- The login that wrote it, which no SECURITY DEFINER hides.
  recorded_by text not null default session_user,
  job_id uuid,
  identifier text,
  entry text not null,
  -- Identity values commit out of order; transaction ids say which rows can come no more.
  primary key (cluster, xid, seq),
  constraint ck_audit_entry check (octet_length(entry) between 2 and 65536)
);

create table jobs.tb_audit_seal (
  number bigint primary key,
  cluster bigint not null,
  from_xid xid8 not null,
  upto_xid xid8 not null,
  entry_count integer not null,
  -- 32 bytes each, in the order (xid, seq): they tell which entry was altered, not only that one was.
  entry_digests bytea not null,
  previous_digest bytea not null,
  sealed_at timestamptz not null,
  key_id text not null,
  digest bytea not null,
  signature bytea not null,
  unique (cluster, upto_xid),
  constraint ck_audit_seal_range check (from_xid < upto_xid and entry_count > 0),
  constraint ck_audit_seal_sizes check (
    octet_length(entry_digests) = 32 * entry_count and octet_length(previous_digest) = 32 and octet_length(digest) = 32
    and octet_length(signature) = 64 and key_id ~ '^[0-9a-f]{64}$')
);

create function jobs.tg_refuse_audit_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'JB020',
    message = format('AUDIT_IMMUTABLE: %s of jobs.%s is refused', tg_op, tg_table_name),
    hint = 'The audit trail is only appended to.';
end $$;
create trigger tg_refuse_audit_change before update or delete or truncate on jobs.tb_audit
  for each statement execute function jobs.tg_refuse_audit_change();
create trigger tg_refuse_audit_change before update or delete or truncate on jobs.tb_audit_seal
  for each statement execute function jobs.tg_refuse_audit_change();
-- The owner too: a SECURITY DEFINER function with a fault can then not do it either.
revoke update, delete, truncate, references, trigger on jobs.tb_audit, jobs.tb_audit_seal from ergon_owner;

-- Null without an entry, so that a statement can record outcomes with and without one. The identifier is the row's, whatever the worker says.
create function jobs.append_audit(p_job_id uuid, p_entry text) returns bigint
language plpgsql strict security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  appended bigint;
begin
  insert into jobs.tb_audit (job_id, identifier, entry)
  values (p_job_id, (select j.identifier from jobs.tb_job_run j where j.id = p_job_id), p_entry)
  returning seq into appended;
  return appended;
end $$;

-- Ends of attempts that no worker tells ------------------------------------------------------------------------------
create function jobs.compose_audit(p_event text, p_job jobs.tb_job_run, p_attempt integer, p_worker_id uuid, p_happened jsonb) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'format', 'ergon-audit/1',
    'event', p_event,
    'job', jsonb_build_object('id', p_job.id, 'attempt', p_attempt),
    'who', jsonb_build_object('tenant_id', p_job.tenant_id, 'triggered_by', p_job.triggered_by,
                              'correlation_id', left(p_job.correlation_id, 1024)),
    'allowed', jsonb_build_object('service', left(p_job.service_name, 1024), 'operation', left(p_job.operation, 1024),
                                  'execution_type', p_job.execution_type),
    'happened', p_happened,
    'worker', (select jsonb_build_object('id', p_worker_id, 'name', w.name)
               from (select p_worker_id) g (id) left join jobs.tb_job_worker w on w.worker_id = g.id
               where p_worker_id is not null)
  ))::text;
$$;

create function jobs.tg_audit_lost() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  job jobs.tb_job_run;
begin
  select * into job from jobs.tb_job_run j where j.id = new.job_id;
  perform jobs.append_audit(new.job_id, jobs.compose_audit('lost', job, new.attempt, new.worker_id, jsonb_build_object(
    'outcome', 'lost', 'category', new.failure ->> 'category', 'code', new.failure ->> 'code',
    'message', left(new.failure ->> 'message', 2048), 'started_at', new.started_at)));
  return null;
end $$;
create trigger tg_audit_lost after insert on jobs.tb_job_attempt
  for each row when (new.outcome = 'lost') execute function jobs.tg_audit_lost();

-- By whoever: the function, an application's UPDATE, ours or an external worker's job. Before tg_apply_user_transition, which takes the live row away.
create function jobs.tg_audit_cancelled() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform jobs.append_audit(new.id, jobs.compose_audit('cancelled', new, new.attempts,
    (select q.worker_id from jobs.tb_job_queue q where q.job_id = new.id),
    jsonb_build_object('outcome', 'cancelled', 'started_at', new.started_at)));
  return null;
end $$;
create trigger tg_6_audit_cancelled after update on jobs.tb_job_run
  for each row when (old.status = 'running' and new.status = 'cancelled') execute function jobs.tg_audit_cancelled();

create function jobs.tg_audit_deleted() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  insert into jobs.tb_audit (job_id, identifier, entry)
  select o.id, o.identifier, jobs.compose_audit('deleted', o, o.attempts,
    (select q.worker_id from jobs.tb_job_queue q where q.job_id = o.id),
    jsonb_build_object('outcome', 'deleted', 'started_at', o.started_at))
  from old_rows o where o.status = 'running';
  return null;
end $$;
create trigger tg_6_audit_deleted after delete on jobs.tb_job_run
  referencing old table as old_rows for each statement execute function jobs.tg_audit_deleted();

create function jobs.tg_audit_truncated() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into jobs.tb_audit (job_id, identifier, entry)
  select j.id, j.identifier, jobs.compose_audit('deleted', j, j.attempts,
    (select q.worker_id from jobs.tb_job_queue q where q.job_id = j.id),
    jsonb_build_object('outcome', 'deleted', 'started_at', j.started_at))
  from jobs.tb_job_run j where j.status = 'running';
  return null;
end $$;
create trigger tg_6_audit_truncated before truncate on jobs.tb_job_run
  for each statement execute function jobs.tg_audit_truncated();

-- Seals ----------------------------------------------------------------------------------------------------------------
-- Length and text, so that no text can look like the field behind it. Neither this nor the next one fixes its search path,
-- which would be set and reset for each entry and keep both from being inlined; their caller fixes it.
create function jobs.audit_field(p_text text) returns text
language sql immutable as $$
  select coalesce(octet_length(convert_to(p_text, 'UTF8')) || ':' || p_text, '-') || ',';
$$;

-- domain/audit-chain.ts computes the same.
create function jobs.audit_entry_digest(p_row jobs.tb_audit) returns bytea
language sql stable as $$
  select sha256(convert_to(
    concat_ws(' ', 'ergon-audit/1', p_row.cluster, p_row.xid, p_row.seq,
              to_char(p_row.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), coalesce(p_row.job_id::text, '-'))
    || ' ' || jobs.audit_field(p_row.recorded_by) || jobs.audit_field(p_row.identifier) || jobs.audit_field(p_row.entry), 'UTF8'));
$$;

create function jobs.audit_entry_digests(p_cluster bigint, p_from xid8, p_upto xid8) returns bytea
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off set jit = off as $$
begin
  return (select string_agg(jobs.audit_entry_digest(a), '' order by a.xid, a.seq)
          from jobs.tb_audit a where a.cluster = p_cluster and a.xid >= p_from and a.xid < p_upto);
end $$;

-- Where a cluster's next range begins: behind all that is sealed.
create function jobs.audit_sealed_upto(p_cluster bigint) returns xid8
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  return coalesce(
    (select s.upto_xid from jobs.tb_audit_seal s where s.cluster = p_cluster order by s.upto_xid desc limit 1), '0');
end $$;

-- What the next seal is about, in the transaction that is to add it; no row when there is nothing to seal or another worker is at it.
create function jobs.next_audit_seal(p_most integer)
returns table (number bigint, cluster bigint, from_xid xid8, upto_xid xid8, entry_count integer, entries_digest bytea, previous_digest bytea)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  here bigint := jobs.cluster_id();
  -- Whatever is below it has ended, and is visible to each statement from now on if it committed.
  horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
  last jobs.tb_audit_seal;
  candidate bigint;
  begins xid8;
  ends xid8;
  found_count integer;
  last_xid xid8;
  digests bytea;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('ergon.audit.seal', 0)) then
    return;
  end if;
  select * into last from jobs.tb_audit_seal s order by s.number desc limit 1;
  -- What a restored dump brought from another cluster is complete, and comes first.
  for candidate in
    with recursive known (cluster) as (
      select min(a.cluster) from jobs.tb_audit a
      union all
      select (select min(a.cluster) from jobs.tb_audit a where a.cluster > k.cluster) from known k where k.cluster is not null
    )
    select k.cluster from known k where k.cluster is not null order by k.cluster = here, k.cluster
  loop
    begins := jobs.audit_sealed_upto(candidate);
    select count(*), max(b.xid::text::bigint)::text::xid8 into found_count, last_xid
    from (select a.xid from jobs.tb_audit a
          where a.cluster = candidate and a.xid >= begins and (candidate <> here or a.xid < horizon)
          order by a.xid, a.seq limit p_most) b;
    if found_count = 0 then
      continue;
    end if;
    -- Whole transactions. A range that has room left goes to the horizon, so that a row put below it later is seen.
    ends := case when found_count < p_most and candidate = here then horizon else (last_xid::text::bigint + 1)::text::xid8 end;
    digests := jobs.audit_entry_digests(candidate, begins, ends);
    return query select coalesce(last.number, 0) + 1, candidate, begins, ends, octet_length(digests) / 32, sha256(digests),
                        coalesce(last.digest, decode(repeat('00', 32), 'hex'));
    return;
  end loop;
end $$;

-- False when another seal came between. What the seal covers is looked up here and not taken from the worker, which may sign only ranges that are complete.
create function jobs.add_audit_seal(p_number bigint, p_cluster bigint, p_from_xid xid8, p_upto_xid xid8, p_sealed_at timestamptz,
                                    p_key_id text, p_digest bytea, p_signature bytea) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  last jobs.tb_audit_seal;
  digests bytea;
begin
  perform pg_advisory_xact_lock(hashtextextended('ergon.audit.seal', 0));
  select * into last from jobs.tb_audit_seal s order by s.number desc limit 1;
  if p_number <> coalesce(last.number, 0) + 1 or p_from_xid <> jobs.audit_sealed_upto(p_cluster)
     or (p_cluster = jobs.cluster_id() and p_upto_xid > pg_snapshot_xmin(pg_current_snapshot())) then
    return false;
  end if;
  digests := jobs.audit_entry_digests(p_cluster, p_from_xid, p_upto_xid);
  if digests is null then
    return false;
  end if;
  insert into jobs.tb_audit_seal (number, cluster, from_xid, upto_xid, entry_count, entry_digests, previous_digest, sealed_at,
                                  key_id, digest, signature)
  values (p_number, p_cluster, p_from_xid, p_upto_xid, octet_length(digests) / 32, digests,
          coalesce(last.digest, decode(repeat('00', 32), 'hex')), p_sealed_at, p_key_id, p_digest, p_signature);
  return true;
end $$;

grant execute on function
  jobs.append_audit(uuid, text), jobs.next_audit_seal(integer),
  jobs.add_audit_seal(bigint, bigint, xid8, xid8, timestamptz, text, bytea, bytea)
  to ergon_worker;
