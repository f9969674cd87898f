-- What a worker does. Rows are found by `= any (array)`: a join may be planned while the table is small, kept, and then
-- scan a large one. A planner setting that is off counts as a huge cost until PostgreSQL 17, and would start the JIT compiler
-- for each call (300 ms). Two arrays' worth of rows are joined by hash: a nested loop is quadratic in the batch. Each call is one transaction; the live row is locked before the wide row; a wide row that an
-- application changed meanwhile wins, and the live row that no longer fits it goes. An application may keep a wide row
-- locked for hours, and a worker has one connection for all its jobs: claims and rescues pass over such a row, and what
-- must have it gives up after two seconds (55P03), to be called again.

-- Workers ------------------------------------------------------------------------------------------------------------
create function jobs.register_worker(p_worker_id uuid, p_name text, p_pid integer, p_lanes text[], p_slots integer, p_version text,
                                     p_lease_seconds integer default 15) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  insert into jobs.tb_job_worker (worker_id, name, pid, version, lanes, slots, lease, heartbeat_at)
  values (p_worker_id, p_name, p_pid, p_version, p_lanes, p_slots, make_interval(secs => p_lease_seconds), clock_timestamp());
$$;

create function jobs.refuse_unknown_worker(p_worker_id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'JB004',
    message = format('WORKER_UNKNOWN: worker %s is not registered, or was lost and removed', p_worker_id),
    hint = 'Abort every job it holds and register under a new id.';
end $$;

-- Renews the lease, late or not, and says which jobs the worker still holds; it must abort every other.
create function jobs.heartbeat(p_worker_id uuid) returns table (job_id uuid, fence uuid)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
#variable_conflict use_column
begin
  update jobs.tb_job_worker w
  set heartbeat_at = clock_timestamp()
  where w.worker_id = p_worker_id;
  if not found then
    perform jobs.refuse_unknown_worker(p_worker_id);
  end if;
  return query
  select q.job_id, q.fence from jobs.tb_job_queue q where q.state = 'executing' and q.worker_id = p_worker_id;
end $$;

create function jobs.drain_worker(p_worker_id uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  update jobs.tb_job_worker w set draining = true where w.worker_id = p_worker_id;
$$;

-- Jobs it still holds are lost at the next rescue.
create function jobs.deregister_worker(p_worker_id uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  delete from jobs.tb_job_worker w where w.worker_id = p_worker_id;
$$;

-- Claim --------------------------------------------------------------------------------------------------------------
-- Which services have ready jobs on which lanes: one index probe for each, however many jobs stand behind it.
create function jobs.ready_services(p_lanes text[]) returns table (lane text, service text)
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  with recursive step (lane, service) as (
    select l.lane, s.service
    from (select distinct unnest(p_lanes) collate "C") l (lane)
    cross join lateral (
      select q.service from jobs.tb_job_queue q
      where q.state = 'ready' and q.lane = l.lane
      order by q.service limit 1
    ) s
    union all
    select t.lane, s.service
    from step t
    cross join lateral (
      select q.service from jobs.tb_job_queue q
      where q.state = 'ready' and q.lane = t.lane and q.service > t.service
      order by q.service limit 1
    ) s
  )
  select step.lane, step.service from step;
$$;

-- Marks the soonest ready jobs of each lane as executing, at most that lane's free slots and `p_most` in all.
create function jobs.take_ready_jobs(p_worker_id uuid, p_lanes text[], p_slots integer[], p_services text[], p_most integer, p_fence uuid,
                                     out taken_ids uuid[], out all_may_run_again boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_hashjoin = off
set enable_mergejoin = off
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
begin
  with soonest as materialized (
    select c.job_id
    from unnest(p_lanes, p_slots) l (lane, slots)
    cross join lateral (
      select q.job_id, q.priority, q.seq
      from jobs.ready_services(array[l.lane]) s
      cross join lateral (
        select r.job_id, r.priority, r.seq
        from jobs.tb_job_queue r
        where r.state = 'ready' and r.lane = l.lane and r.service = s.service
        order by r.priority, r.seq
        limit l.slots
        for update skip locked
      ) q
      where s.service = any (p_services)
      order by q.priority, q.seq
      limit l.slots
    ) c
    order by c.priority, c.seq
    limit p_most
  ), taken as (
    update jobs.tb_job_queue q
    set state = 'executing',
        attempt = q.attempt + 1,
        worker_id = p_worker_id,
        fence = p_fence,
        -- The grace is what a worker has to notice a time-out itself, end the job and record it.
        deadline = clock_timestamp() + make_interval(secs => q.timeout_seconds + 30)
    where q.job_id = any (array(select s.job_id from soonest s))
    returning q.job_id, q.retry_when_lost, q.priority, q.seq
  )
  select array_agg(t.job_id order by t.priority, t.seq), bool_and(t.retry_when_lost) into taken_ids, all_may_run_again
  from taken t;
end $$;

-- How many jobs the worker may still take. Refuses a worker that may take none.
create function jobs.count_free_slots(p_worker_id uuid, p_lanes text[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  worker jobs.tb_job_worker;
begin
  select * into worker from jobs.tb_job_worker w where w.worker_id = p_worker_id;
  if not found then
    perform jobs.refuse_unknown_worker(p_worker_id);
  end if;
  if worker.draining then
    raise exception using
      errcode = 'JB005',
      message = format('WORKER_DRAINING: worker %s is draining and claims nothing', p_worker_id);
  end if;
  if not p_lanes <@ worker.lanes then
    raise exception using
      errcode = 'JB006',
      message = format('LANE_NOT_REGISTERED: worker %s registered the lanes %s, not all of %s', p_worker_id, worker.lanes, p_lanes);
  end if;
  if worker.heartbeat_at + worker.lease <= clock_timestamp() then
    -- It speaks, so it lives (the database was away); without this the next rescue would take what is claimed here.
    update jobs.tb_job_worker w set heartbeat_at = clock_timestamp() where w.worker_id = p_worker_id;
    if not found then
      perform jobs.refuse_unknown_worker(p_worker_id);
    end if;
  end if;
  return worker.slots - (select count(*) from jobs.tb_job_queue q where q.state = 'executing' and q.worker_id = p_worker_id);
end $$;

-- Takes ready jobs for a worker and says all that it needs to run them, soonest first.
create function jobs.claim_jobs(p_worker_id uuid, p_lanes text[], p_slots integer[], p_services text[])
returns table (
  id uuid, fence uuid, attempt integer, max_attempts integer, lane text, service_name text, operation text, execution_type text,
  input_data text, runner_config text, tenant_id uuid, triggered_by uuid, correlation_id text, entity_type text, entity_pk text,
  timeout_seconds integer, deadline timestamptz, security_context text, traceparent text, execution_key text,
  created_at timestamptz, project_id text, document_id text, document_revision_id text, target_object_id text
)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set enable_nestloop = off
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  free_slots integer := jobs.count_free_slots(p_worker_id, p_lanes);
  claim_fence uuid := gen_random_uuid();
  claimed record;
  available_ids uuid[];
  started_count integer;
begin
  if free_slots <= 0 then
    return;
  end if;
  claimed := jobs.take_ready_jobs(p_worker_id, p_lanes, p_slots, p_services, free_slots, claim_fence);
  if claimed.taken_ids is null then
    return;
  end if;
  select coalesce(array_agg(available.id), '{}') into available_ids
  from (select j.id from jobs.tb_job_run j where j.id = any (claimed.taken_ids) for no key update skip locked) available;

  return query
  with started as (
    update jobs.tb_job_run j
    set status = 'running',
        attempts = q.attempt,
        started_at = clock_timestamp(),
        completed_at = null,
        output_data = null,
        resource_usage = null,
        error_message = null,
        failure = null,
        failure_category = null,
        failure_code = null,
        updated_at = clock_timestamp()
    from jobs.tb_job_queue q
    where j.id = any (available_ids) and q.job_id = any (available_ids) and q.job_id = j.id and j.status = 'pending'
    returning j.id, claim_fence, q.attempt, q.max_attempts, q.lane, j.service_name, j.operation, j.execution_type,
              j.input_data::text, j.runner_config::text, j.tenant_id, j.triggered_by, j.correlation_id, j.entity_type, j.entity_pk,
              q.timeout_seconds, q.deadline, j.security_context::text, j.traceparent, j.execution_key,
              j.created_at, j.project_id, j.document_id, j.document_revision_id, j.target_object_id
  )
  select s.* from started s order by array_position(claimed.taken_ids, s.id);
  get diagnostics started_count = row_count;

  if started_count < cardinality(claimed.taken_ids) then
    -- Locked by an application: those behind it come first, and it is looked at again in a second.
    update jobs.tb_job_queue q
    set state = 'scheduled', run_at = clock_timestamp() + interval '1 second', attempt = q.attempt - 1,
        worker_id = null, fence = null, deadline = null
    where q.job_id = any (claimed.taken_ids) and q.job_id <> all (available_ids)
      and exists (select from jobs.tb_job_run j where j.id = any (claimed.taken_ids) and j.id = q.job_id and j.status = 'pending');
    -- Cancelled or deleted by an application between our look and its commit.
    delete from jobs.tb_job_queue q
    where q.job_id = any (claimed.taken_ids) and q.fence = claim_fence
      and not exists (select from jobs.tb_job_run j
                      where j.id = any (claimed.taken_ids) and j.id = q.job_id and j.status = 'running');
  end if;
  if claimed.all_may_run_again then
    -- A crash may then forget this claim and the job runs again, which is what it declares it may.
    perform set_config('synchronous_commit', 'off', true);
  end if;
end $$;

-- Output and artifacts -----------------------------------------------------------------------------------------------
create function jobs.insert_artifacts(p_job_id uuid, p_attempt integer, p_artifacts jsonb) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  insert into jobs.tb_artifact (artifact_id, job_id, attempt, tenant_id, kind, format, name, digest, size_bytes, content_type, metadata)
  select a.artifact_id, p_job_id, p_attempt, j.tenant_id, a.kind, a.format, a.name, a.digest, a.size_bytes, a.content_type,
         coalesce(a.metadata, '{}')
  from jobs.tb_job_run j
  cross join jsonb_to_recordset(p_artifacts) a (artifact_id uuid, kind text, format text, name text, digest text, size_bytes bigint,
                                                content_type text, metadata jsonb)
  where j.id = p_job_id
  on conflict (artifact_id) do nothing;
$$;

-- The live chunks of an attempt give way to its final, bounded text; a null stream has none and keeps its chunks.
create function jobs.replace_output(p_job_id uuid, p_attempt integer, p_stdout text, p_stderr text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  delete from jobs.tb_job_output o
  where o.job_id = p_job_id and o.attempt = p_attempt and case o.stream when 'stdout' then p_stdout else p_stderr end is not null;
  insert into jobs.tb_job_output (job_id, attempt, stream, "offset", bytes)
  select p_job_id, p_attempt, s.stream, 0, convert_to(s.content, 'UTF8')
  from (values ('stdout', p_stdout), ('stderr', p_stderr)) s (stream, content)
  where s.content <> '';
end $$;

-- A repeated chunk is accepted and changes nothing.
create function jobs.append_output(p_job_id uuid, p_fence uuid, p_stream text, p_offset bigint, p_bytes bytea) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
  current_attempt integer;
begin
  -- The share lock keeps a recording, which replaces the chunks, from overtaking this one.
  select q.attempt into current_attempt from jobs.tb_job_queue q where q.job_id = p_job_id and q.fence = p_fence for share;
  if not found then
    perform jobs.count_late(array[p_job_id], 'append_output');
    return false;
  end if;
  insert into jobs.tb_job_output (job_id, attempt, stream, "offset", bytes)
  values (p_job_id, current_attempt, p_stream, p_offset, p_bytes)
  on conflict (job_id, attempt, stream, "offset") do nothing;
  -- Losing the last moments of live output to a crash is no loss: the attempt is lost with it.
  perform set_config('synchronous_commit', 'off', true);
  return true;
end $$;

create function jobs.register_artifacts(p_job_id uuid, p_fence uuid, p_artifacts text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
  current_attempt integer;
begin
  select q.attempt into current_attempt from jobs.tb_job_queue q where q.job_id = p_job_id and q.fence = p_fence for share;
  if not found then
    perform jobs.count_late(array[p_job_id], 'register_artifacts');
    return false;
  end if;
  perform jobs.insert_artifacts(p_job_id, current_attempt, p_artifacts::jsonb);
  return true;
end $$;

-- Of the digests a job asks for, those its tenant has: uploaded, or made by an earlier job. No fence, no answer.
create function jobs.resolve_datasets(p_job_id uuid, p_fence uuid, p_digests text[]) returns setof text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select distinct a.digest
  from jobs.tb_job_queue q
  join jobs.tb_artifact a on a.digest = any (p_digests) and a.tenant_id is not distinct from q.tenant_id
  where q.job_id = p_job_id and q.fence = p_fence;
$$;

create function jobs.register_dataset(p_tenant_id uuid, p_name text, p_format text, p_digest text, p_size_bytes bigint, p_content_type text)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  known_id uuid;
begin
  insert into jobs.tb_artifact (artifact_id, tenant_id, kind, format, name, digest, size_bytes, content_type)
  values (gen_random_uuid(), p_tenant_id, 'dataset', p_format, p_name, p_digest, p_size_bytes, p_content_type)
  on conflict (tenant_id, digest) where job_id is null do nothing
  returning artifact_id into known_id;
  if known_id is null then
    select a.artifact_id into known_id
    from jobs.tb_artifact a
    where a.job_id is null and a.digest = p_digest and a.tenant_id is not distinct from p_tenant_id;
  end if;
  return known_id;
end $$;

-- Record -------------------------------------------------------------------------------------------------------------
-- Returns the ids that were recorded; the others had lost their fence, changed nothing and were counted.
-- JSON comes as text, so that no number passes through a double on its way.
create function jobs.complete_jobs(p_job_ids uuid[], p_fences uuid[], p_outputs text[], p_resource_usages text[], p_env_versions text[],
                                   p_logs text[], p_stdouts text[], p_stderrs text[], p_artifacts text[]) returns setof uuid
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set enable_nestloop = off
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  accepted_ids uuid[];
  accepted_fences uuid[];
  recorded record;
begin
  -- No condition on the live row's state: it made this quadratic, and a fence says the same.
  with given as (
    select * from unnest(p_job_ids, p_fences, p_outputs, p_resource_usages, p_env_versions, p_logs)
      g (job_id, fence, output, resource_usage, env_version, logs)
  ), released as (
    delete from jobs.tb_job_queue q using given g
    where q.job_id = any (p_job_ids) and q.job_id = g.job_id and q.fence = g.fence
    returning g.*
  ), completed as (
    update jobs.tb_job_run j
    set status = 'completed',
        output_data = r.output::jsonb,
        resource_usage = r.resource_usage::jsonb,
        env_version = r.env_version,
        logs = r.logs::jsonb,
        completed_at = clock_timestamp(),
        updated_at = clock_timestamp()
    from released r
    where j.id = any (p_job_ids) and j.id = r.job_id and j.status = 'running'
    returning j.id, r.fence
  )
  select coalesce(array_agg(c.id), '{}'), coalesce(array_agg(c.fence), '{}') into accepted_ids, accepted_fences from completed c;

  for recorded in
    select g.job_id, j.attempts, g.stdout, g.stderr, g.artifacts
    from unnest(p_job_ids, p_fences, p_stdouts, p_stderrs, p_artifacts) g (job_id, fence, stdout, stderr, artifacts)
    join jobs.tb_job_run j on j.id = g.job_id and j.id = any (accepted_ids)
    where coalesce(g.stdout, g.stderr, g.artifacts) is not null
      and (g.job_id, g.fence) in (select a.id, a.fence from unnest(accepted_ids, accepted_fences) a (id, fence))
  loop
    perform jobs.replace_output(recorded.job_id, recorded.attempts, recorded.stdout, recorded.stderr);
    perform jobs.insert_artifacts(recorded.job_id, recorded.attempts, recorded.artifacts::jsonb);
  end loop;

  if cardinality(accepted_ids) < cardinality(p_job_ids) then
    perform jobs.count_late(array_agg(g.job_id), 'complete')
    from unnest(p_job_ids, p_fences) g (job_id, fence)
    where (g.job_id, g.fence) not in (select a.id, a.fence from unnest(accepted_ids, accepted_fences) a (id, fence));
  end if;
  return query select unnest(accepted_ids);
end $$;

-- Ends an attempt whose live row the caller has locked. A null delay means that the failure is not to be retried.
-- 'late' means that an application cancelled or deleted the job meanwhile.
create function jobs.end_attempt(p_live jobs.tb_job_queue, p_outcome text, p_failure jsonb, p_retry_delay interval,
                                 p_dead_letter_reason text, p_output jsonb, p_resource_usage jsonb, p_env_version text, p_logs jsonb)
returns text
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  is_retried boolean := p_retry_delay is not null and p_live.attempt < p_live.max_attempts;
  next_run_at timestamptz := clock_timestamp() + p_retry_delay;
  first_start timestamptz;
begin
  select j.started_at into first_start from jobs.tb_job_run j where j.id = p_live.job_id;
  update jobs.tb_job_run j
  set status = case when is_retried then 'pending' else 'failed' end,
      run_at = case when is_retried then next_run_at else j.run_at end,
      started_at = case when is_retried then null else j.started_at end,
      completed_at = case when is_retried then null else clock_timestamp() end,
      error_message = left(p_failure ->> 'message', 65536),
      failure = p_failure,
      failure_category = p_failure ->> 'category',
      failure_code = p_failure ->> 'code',
      dead_letter_reason = case when is_retried then null
                             else coalesce(p_dead_letter_reason, case when p_retry_delay is null then 'NOT_RETRYABLE' else 'ATTEMPTS_EXHAUSTED' end) end,
      dead_lettered_at = case when is_retried then null else clock_timestamp() end,
      output_data = p_output,
      resource_usage = p_resource_usage,
      env_version = p_env_version,
      logs = p_logs,
      updated_at = clock_timestamp()
  where j.id = p_live.job_id and j.status = 'running';
  if not found then
    delete from jobs.tb_job_queue q where q.job_id = p_live.job_id;
    return 'late';
  end if;

  if is_retried then
    update jobs.tb_job_queue q
    set state = 'scheduled', run_at = next_run_at, worker_id = null, fence = null, deadline = null
    where q.job_id = p_live.job_id;
  else
    delete from jobs.tb_job_queue q where q.job_id = p_live.job_id;
  end if;
  insert into jobs.tb_job_attempt (job_id, attempt, outcome, worker_id, started_at, ended_at, failure, env_version, resource_usage)
  values (p_live.job_id, p_live.attempt, p_outcome, p_live.worker_id, first_start, clock_timestamp(), p_failure, p_env_version, p_resource_usage)
  on conflict (job_id, attempt) do nothing;
  return case when is_retried then 'retried' else 'failed' end;
end $$;

-- The worker's policy decides whether and when to retry; the attempts that are left are counted here.
create function jobs.record_failure(p_job_id uuid, p_fence uuid, p_failure text, p_retry_delay_ms bigint, p_dead_letter_reason text,
                                    p_output text, p_resource_usage text, p_env_version text, p_logs text, p_stdout text, p_stderr text,
                                    p_artifacts text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
  live jobs.tb_job_queue;
  result text := 'late';
begin
  select * into live from jobs.tb_job_queue q where q.job_id = p_job_id and q.fence = p_fence for update;
  if found then
    result := jobs.end_attempt(live, 'failed', p_failure::jsonb, make_interval(secs => p_retry_delay_ms / 1000.0),
                               p_dead_letter_reason, p_output::jsonb, p_resource_usage::jsonb, p_env_version, p_logs::jsonb);
  end if;
  if result = 'late' then
    perform jobs.count_late(array[p_job_id], 'fail');
    return result;
  end if;
  perform jobs.replace_output(p_job_id, live.attempt, p_stdout, p_stderr);
  perform jobs.insert_artifacts(p_job_id, live.attempt, p_artifacts::jsonb);
  return result;
end $$;

-- Ends an attempt of which nobody will say how it ended, as the job declares: tried again, or failed.
create function jobs.end_lost_attempt(p_live jobs.tb_job_queue, p_message text) returns text
language sql set search_path = pg_catalog, pg_temp as $$
  select jobs.end_attempt(
    p_live, 'lost',
    jsonb_build_object('category', 'INTERNAL_ERROR', 'code', 'WORKER_LOST', 'message', p_message, 'evidence', null, 'details', null),
    -- 1, 2, 4 … 300 s, of which a random half is kept, so that the jobs of one worker do not come back as one.
    case when p_live.retry_when_lost
      then make_interval(secs => least(300, power(2, least(p_live.attempt - 1, 10))) * (0.5 + random() / 2)) end,
    case when not p_live.retry_when_lost then 'WORKER_LOST' end,
    null, null, null, null);
$$;

-- A worker that lives says that it let these attempts go without a result; nobody else would notice before the deadline.
create function jobs.abandon_jobs(p_job_ids uuid[], p_fences uuid[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
  live jobs.tb_job_queue;
  abandoned_count integer := 0;
begin
  for live in
    select q.* from unnest(p_job_ids, p_fences) g (job_id, fence)
    join jobs.tb_job_queue q on q.job_id = g.job_id and q.fence = g.fence and q.job_id = any (p_job_ids)
    for update of q
  loop
    perform jobs.end_lost_attempt(live, format('worker %s lost attempt %s', live.worker_id, live.attempt));
    abandoned_count := abandoned_count + 1;
  end loop;
  return abandoned_count;
end $$;

-- Hands jobs back as if they had never been claimed: a drain is no fault of theirs.
create function jobs.release_jobs(p_job_ids uuid[], p_fences uuid[]) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '2s' as $$
declare
  live jobs.tb_job_queue;
  released_count integer := 0;
begin
  for live in
    select q.* from unnest(p_job_ids, p_fences) g (job_id, fence)
    join jobs.tb_job_queue q on q.job_id = g.job_id and q.fence = g.fence and q.job_id = any (p_job_ids)
    for update of q
  loop
    update jobs.tb_job_run j
    set status = 'pending', attempts = live.attempt - 1, started_at = null, updated_at = clock_timestamp()
    where j.id = live.job_id and j.status = 'running';
    if not found then
      delete from jobs.tb_job_queue q where q.job_id = live.job_id;
      continue;
    end if;
    update jobs.tb_job_queue q
    set state = 'ready', attempt = live.attempt - 1, worker_id = null, fence = null, deadline = null
    where q.job_id = live.job_id;
    delete from jobs.tb_job_output o where o.job_id = live.job_id and o.attempt = live.attempt;
    perform jobs.ring_lane(live.lane);
    released_count := released_count + 1;
  end loop;
  return released_count;
end $$;

-- Maintenance: any worker calls these every second -----------------------------------------------------------------------
create function jobs.rescue_jobs() returns table (retried_count integer, failed_count integer, removed_worker_count integer)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set enable_seqscan = off
set jit = off
as $$
declare
  lost record;
  result text;
begin
  retried_count := 0;
  failed_count := 0;
  removed_worker_count := 0;
  -- One rescuer at a time; a second one has nothing to add.
  if not pg_try_advisory_xact_lock(hashtextextended('ergon.rescue', 0)) then
    return next;
    return;
  end if;
  for lost in
    select q as live, q.deadline <= clock_timestamp() as deadline_passed
    from jobs.tb_job_queue q
    where q.state = 'executing'
      and (q.deadline <= clock_timestamp()
           or not exists (select from jobs.tb_job_worker w
                          where w.worker_id = q.worker_id and w.heartbeat_at + w.lease > clock_timestamp()))
    order by q.seq
    limit 1000
    for update of q skip locked
  loop
    -- Whoever keeps one row locked must not keep every other from being rescued.
    perform from jobs.tb_job_run j where j.id = (lost.live).job_id for no key update skip locked;
    if not found and exists (select from jobs.tb_job_run j where j.id = (lost.live).job_id) then
      continue;
    end if;
    result := jobs.end_lost_attempt(
      lost.live,
      format(case when lost.deadline_passed then 'worker %s did not finish attempt %s by its deadline %s'
               else 'worker %s stopped during attempt %s' end,
             (lost.live).worker_id, (lost.live).attempt, (lost.live).deadline));
    if result = 'retried' then
      retried_count := retried_count + 1;
    elsif result = 'failed' then
      failed_count := failed_count + 1;
    end if;
    -- It may be alive, only slow: let it kill what it runs for nobody.
    perform jobs.tell_cancelled((lost.live).job_id, (lost.live).fence);
  end loop;
  delete from jobs.tb_job_worker w
  where w.heartbeat_at + w.lease <= clock_timestamp()
    and not exists (select from jobs.tb_job_queue q where q.state = 'executing' and q.worker_id = w.worker_id);
  get diagnostics removed_worker_count = row_count;
  return next;
end $$;

-- Returns how many jobs became ready.
create function jobs.promote_jobs() returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  promoted_lanes text[];
  promoted_lane text;
begin
  with due as materialized (
    select q.job_id from jobs.tb_job_queue q
    where q.state = 'scheduled' and q.run_at <= clock_timestamp()
    order by q.run_at limit 1000
    for update skip locked
  ), promoted as (
    update jobs.tb_job_queue q set state = 'ready' from due where q.job_id = due.job_id returning q.lane
  )
  select array_agg(p.lane) into promoted_lanes from promoted p;
  for promoted_lane in select distinct unnest(promoted_lanes) loop
    perform jobs.ring_lane(promoted_lane);
  end loop;
  return coalesce(cardinality(promoted_lanes), 0);
end $$;
