-- Doorbell -----------------------------------------------------------------------------------------------------------
-- A worker that is idle on a lane holds this key as a shared advisory lock on its LISTEN connection. A NOTIFY takes a
-- lock of the whole cluster at commit (16 inserting clients fell to 0.53), so it is sent only while somebody sleeps.
create function jobs.lane_doorbell_key(p_lane text) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select hashtextextended('ergon.lane.' || p_lane, 0);
$$;

create function jobs.ring_lane(p_lane text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  doorbell bigint := jobs.lane_doorbell_key(p_lane);
begin
  if pg_try_advisory_lock(doorbell) then
    perform pg_advisory_unlock(doorbell);
  else
    perform pg_notify('ergon_lane', p_lane);
  end if;
end $$;

-- Live queue ---------------------------------------------------------------------------------------------------------
create function jobs.lane_of(p_execution_type text, p_queue text) returns text
language sql immutable as $$
  select p_execution_type || coalesce(':' || p_queue, '');
$$;

-- Gives pending rows of the wide table their live row, in the order given.
create function jobs.queue_jobs(p_job_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  woken_lane text;
begin
  for woken_lane in
    with queued as (
      insert into jobs.tb_job_queue (job_id, state, lane, service, tenant_id, priority, run_at, gate, attempt, max_attempts,
                                     timeout_seconds, retry_when_lost)
      select j.id,
             case when j.gate is not null then 'gated' when j.run_at <= now() then 'ready' else 'scheduled' end,
             jobs.lane_of(j.execution_type, j.queue),
             lower(j.service_name),
             j.tenant_id,
             j.priority,
             j.run_at,
             j.gate,
             -- Clamped, not refused: rows of existing functions carry whatever their authors wrote, and one number that
             -- cannot be counted on would fail the claim of every job beside it.
             least(greatest(coalesce(j.attempts, 0), 0), 1000000),
             greatest(coalesce(j.max_attempts, 3), 1),
             least(greatest(coalesce(j.timeout_seconds, 300), 1), 604800),
             coalesce(j.on_worker_lost = 'retry', j.execution_type = 'sandbox')
      from unnest(p_job_ids) with ordinality g (id, position)
      -- The offset keeps the planner from scanning the table once and the array for each of its rows: 50 000 rows took minutes.
      cross join lateral (select * from jobs.tb_job_run r where r.id = g.id offset 0) j
      order by g.position
      on conflict (job_id) do nothing
      returning lane, state
    )
    select distinct q.lane from queued q where q.state = 'ready'
  loop
    perform jobs.ring_lane(woken_lane);
  end loop;
end $$;

create function jobs.tg_queue_inserted_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  pending_ids uuid[];
begin
  -- A row inserted as running belongs to an external worker, a finished one is an import: neither is queued.
  select array_agg(n.id) into pending_ids from new_rows n where n.status = 'pending';
  if pending_ids is not null then
    perform jobs.queue_jobs(pending_ids);
  end if;
  return null;
end $$;
create trigger tg_queue_inserted_jobs after insert on jobs.tb_job_run
  referencing new table as new_rows for each statement execute function jobs.tg_queue_inserted_jobs();

-- Rows as they come in: normalise, read the payload, refuse what is too large. Triggers fire in the order of their names.
create function jobs.tg_lower_execution_type() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  new.execution_type := lower(new.execution_type);
  return new;
end $$;
create trigger tg_1_lower_execution_type before insert or update on jobs.tb_job_run
  for each row when (new.execution_type <> lower(new.execution_type)) execute function jobs.tg_lower_execution_type();

create function jobs.uuid_or_null(p_text text) returns uuid
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case when p_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_text::uuid end;
$$;

-- A payload of the job contract carries what other rows state in columns; a column that is stated wins.
-- Values of the wrong type are left alone here: the worker refuses them with a verdict that names the field.
create function jobs.tg_read_payload() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  payload jsonb := new.input_data;
  timeout_ms jsonb := payload #> '{limits,timeout_ms}';
begin
  if new.execution_type = 'http' then
    new.execution_type := 'sandbox';
  end if;
  if jsonb_typeof(payload) is distinct from 'object' then
    return new;
  end if;
  new.schema_version := coalesce(new.schema_version, payload ->> 'schema_version');
  new.project_id := coalesce(new.project_id, payload ->> 'project_id');
  new.document_id := coalesce(new.document_id, payload ->> 'document_id');
  new.document_revision_id := coalesce(new.document_revision_id, payload ->> 'document_revision_id');
  new.target_object_id := coalesce(new.target_object_id, payload #>> '{target,object_id}');
  new.execution_key := coalesce(new.execution_key, payload ->> 'execution_key');
  new.tenant_id := coalesce(new.tenant_id, jobs.uuid_or_null(payload ->> 'workspace_id'));
  new.triggered_by := coalesce(new.triggered_by, jobs.uuid_or_null(payload #>> '{requested_by,user_id}'));
  if new.priority = 100 then
    new.priority := case payload ->> 'priority' when 'high' then 50 when 'low' then 150 else 100 end;
  end if;
  if new.timeout_seconds is null and jsonb_typeof(timeout_ms) = 'number' then
    new.timeout_seconds := ceil(least(greatest(timeout_ms::numeric, 1), 604800000) / 1000);
  end if;
  return new;
end $$;
create trigger tg_2_read_payload before insert on jobs.tb_job_run
  for each row when (lower(new.service_name) = 'executor') execute function jobs.tg_read_payload();

-- By the text a worker will read: jsonb keeps 1e50000 in a few bytes, and a row of such numbers would be a gigabyte at the
-- claim, which fails then for everybody. A value from another table may also arrive compressed.
create function jobs.tg_refuse_oversize() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  column_name text;
  text_value text;
  json_value jsonb;
  seen integer;
  allowed integer;
begin
  for column_name, json_value in
    values ('input_data', new.input_data), ('runner_config', new.runner_config), ('security_context', new.security_context)
  loop
    seen := octet_length(json_value::text);
    if seen > 1048576 then
      raise exception using
        errcode = 'JB001',
        message = format('INPUT_TOO_LARGE: %s of job "%s" is %s bytes, the limit is 1048576', column_name, left(new.identifier, 100), seen),
        hint = 'Store large data as a dataset and refer to it by digest.';
    end if;
  end loop;
  for column_name, text_value, allowed in
    values ('identifier', new.identifier, 1024), ('idempotency_key', new.idempotency_key, 1024),
           ('service_name', new.service_name, 200), ('operation', new.operation, 200),
           ('correlation_id', new.correlation_id, 1024), ('entity_type', new.entity_type, 200),
           ('entity_pk', new.entity_pk, 1024), ('concurrency_key', new.concurrency_key, 512),
           ('execution_key', new.execution_key, 200), ('gate', new.gate, 200), ('traceparent', new.traceparent, 200),
           ('schema_version', new.schema_version, 200), ('project_id', new.project_id, 200),
           ('document_id', new.document_id, 200), ('document_revision_id', new.document_revision_id, 200),
           ('target_object_id', new.target_object_id, 200)
  loop
    seen := octet_length(text_value);
    if seen > allowed then
      raise exception using
        errcode = 'JB001',
        message = format('INPUT_TOO_LARGE: %s of job "%s" is %s bytes, the limit is %s', column_name, left(new.identifier, 100), seen, allowed),
        hint = 'Shorten the value, or use a hash of it as the key.';
    end if;
  end loop;
  return new;
end $$;
create trigger tg_3_refuse_oversize_json before insert or update of input_data, runner_config, security_context on jobs.tb_job_run
  for each row when (
    octet_length(new.input_data::text) > 1048576
    or octet_length(new.runner_config::text) > 1048576
    or octet_length(new.security_context::text) > 1048576
  ) execute function jobs.tg_refuse_oversize();
create trigger tg_3_refuse_oversize_text before insert
  or update of identifier, idempotency_key, service_name, operation, correlation_id, entity_type, entity_pk, concurrency_key,
    execution_key, gate, traceparent, schema_version, project_id, document_id, document_revision_id, target_object_id
  on jobs.tb_job_run
  for each row when (
    octet_length(new.identifier) > 1024 or octet_length(new.idempotency_key) > 1024 or octet_length(new.service_name) > 200
    or octet_length(new.operation) > 200 or octet_length(new.correlation_id) > 1024 or octet_length(new.entity_type) > 200
    or octet_length(new.entity_pk) > 1024 or octet_length(new.concurrency_key) > 512 or octet_length(new.execution_key) > 200
    or octet_length(new.gate) > 200 or octet_length(new.traceparent) > 200 or octet_length(new.schema_version) > 200
    or octet_length(new.project_id) > 200 or octet_length(new.document_id) > 200
    or octet_length(new.document_revision_id) > 200 or octet_length(new.target_object_id) > 200
  ) execute function jobs.tg_refuse_oversize();

-- Enqueue as a call ---------------------------------------------------------------------------------------------------
-- The same as an INSERT, for roles that have functions and no table. An identifier of the same tenant gives the existing job.
create function jobs.enqueue_job(
  service_name text,
  operation text,
  input_data jsonb default null,
  execution_type text default 'http',
  id uuid default null,
  identifier text default null,
  idempotency_key text default null,
  runner_config jsonb default null,
  security_context jsonb default null,
  max_attempts integer default 3,
  timeout_seconds integer default null,
  tenant_id uuid default null,
  triggered_by uuid default null,
  correlation_id text default null,
  entity_type text default null,
  entity_pk text default null,
  priority smallint default 100,
  run_at timestamptz default null,
  queue text default null,
  concurrency_key text default null,
  execution_key text default null,
  on_worker_lost text default null,
  traceparent text default null
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  job_id uuid := coalesce(enqueue_job.id, gen_random_uuid());
  job_identifier text := coalesce(enqueue_job.identifier, format('%s_%s_%s', enqueue_job.service_name, enqueue_job.operation, job_id));
  existing_id uuid;
begin
  if enqueue_job.max_attempts not between 1 and 1000 then
    raise exception using
      errcode = 'JB010',
      message = format('INVALID_LIMIT: max_attempts is %s, expected 1 to 1000', enqueue_job.max_attempts);
  end if;
  if enqueue_job.timeout_seconds not between 1 and 604800 then
    raise exception using
      errcode = 'JB010',
      message = format('INVALID_LIMIT: timeout_seconds is %s, expected 1 to 604800 (seven days)', enqueue_job.timeout_seconds);
  end if;
  insert into jobs.tb_job_run (
    id, identifier, idempotency_key, service_name, operation, input_data, execution_type, runner_config, security_context,
    max_attempts, timeout_seconds, tenant_id, triggered_by, correlation_id, entity_type, entity_pk, priority, run_at, queue,
    concurrency_key, execution_key, on_worker_lost, traceparent
  ) values (
    job_id, job_identifier, enqueue_job.idempotency_key, enqueue_job.service_name, enqueue_job.operation, enqueue_job.input_data,
    enqueue_job.execution_type, enqueue_job.runner_config, enqueue_job.security_context, enqueue_job.max_attempts,
    enqueue_job.timeout_seconds, enqueue_job.tenant_id, enqueue_job.triggered_by, enqueue_job.correlation_id,
    enqueue_job.entity_type, enqueue_job.entity_pk, enqueue_job.priority, coalesce(enqueue_job.run_at, now()), enqueue_job.queue,
    enqueue_job.concurrency_key, enqueue_job.execution_key, enqueue_job.on_worker_lost, enqueue_job.traceparent
  )
  on conflict (identifier) do nothing
  returning tb_job_run.id into existing_id;
  if existing_id is not null then
    return existing_id;
  end if;
  -- A second statement sees the row that the insert waited for.
  select j.id into existing_id
  from jobs.tb_job_run j
  where j.identifier = job_identifier and j.tenant_id is not distinct from enqueue_job.tenant_id;
  if existing_id is null then
    raise exception using
      errcode = 'JB007',
      message = format('IDENTIFIER_TAKEN: a job of another tenant has the identifier "%s"', job_identifier),
      hint = 'Make the tenant part of the identifier.';
  end if;
  return existing_id;
end $$;
