-- Applications write to the wide table directly; what they may change is decided here. Our functions run as ergon_owner
-- and pass by (leaving failed is the same for everybody). Functions lock the live row first and the wide row second; an UPDATE has its wide row locked already, so
-- these triggers never wait for a live row: they skip a locked one, and its holder finds the wide row changed and gives up.
-- One that only stores output does not look at the wide row: the worker is told in any case, and lets go of the live row.

-- Told with the fence, so that a later attempt of the same job is not taken for this one.
create function jobs.tell_cancelled(p_job_id uuid, p_fence uuid) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  select pg_notify('ergon_cancel', format('%s %s', p_job_id, p_fence)) where p_fence is not null;
$$;

create function jobs.tg_check_user_transition() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.status = 'cancelled' and old.status in ('pending', 'running') then
    new.completed_at := clock_timestamp();
  elsif new.status = 'pending' and old.status = 'failed' then
    -- Attempts never run backwards, each keeps its own records. Whoever resets the counter gets the whole budget again.
    new.max_attempts := coalesce(old.attempts, 0) + greatest(coalesce(new.max_attempts, 3) - coalesce(new.attempts, 0), 1);
    new.attempts := coalesce(old.attempts, 0);
    new.started_at := null;
    new.completed_at := null;
    new.output_data := null;
    new.error_message := null;
    new.failure := null;
    new.failure_category := null;
    new.failure_code := null;
    new.dead_letter_reason := null;
    new.dead_lettered_at := null;
  else
    raise exception using
      errcode = 'JB002',
      message = format('ILLEGAL_TRANSITION: job %s is %s and cannot be set to %s', old.id, old.status, new.status),
      hint = 'By UPDATE a pending or running job can be cancelled and a failed one set to pending; everything else is the worker''s.';
  end if;
  new.updated_at := clock_timestamp();
  return new;
end $$;
create trigger tg_4_check_user_transition before update on jobs.tb_job_run
  for each row when (old.status is distinct from new.status and (current_user <> 'ergon_owner' or old.status = 'failed'))
  execute function jobs.tg_check_user_transition();

create function jobs.tg_apply_user_transition() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  running_fence uuid;
begin
  if new.status = 'pending' then
    perform jobs.queue_jobs(array[new.id]);
    return null;
  end if;
  select q.fence into running_fence from jobs.tb_job_queue q where q.job_id = new.id;
  delete from jobs.tb_job_queue q
  where q.job_id in (select l.job_id from jobs.tb_job_queue l where l.job_id = new.id for update skip locked);
  perform jobs.tell_cancelled(new.id, running_fence);
  return null;
end $$;
create trigger tg_apply_user_transition after update on jobs.tb_job_run
  for each row when (old.status is distinct from new.status and (current_user <> 'ergon_owner' or old.status = 'failed'))
  execute function jobs.tg_apply_user_transition();

create function jobs.tg_refuse_column_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception using
    errcode = 'JB003',
    message = format('IMMUTABLE_COLUMN: %s of job %s (%s) cannot be changed', tg_argv[0], old.id, old.status),
    hint = 'Cancel the job and insert another one.';
end $$;
create trigger tg_5_refuse_identity_change before update on jobs.tb_job_run
  for each row when (
    current_user <> 'ergon_owner'
    and (old.id, old.service_name, old.operation, lower(old.execution_type), old.queue, old.tenant_id, old.created_at)
      is distinct from (new.id, new.service_name, new.operation, new.execution_type, new.queue, new.tenant_id, new.created_at)
  ) execute function jobs.tg_refuse_column_change('one of id, service_name, operation, execution_type, queue, tenant_id, created_at');
-- The live row holds copies of these.
create trigger tg_5_refuse_live_change before update on jobs.tb_job_run
  for each row when (
    current_user <> 'ergon_owner' and old.status in ('pending', 'running')
    and (old.priority, old.run_at, old.gate, old.attempts, old.max_attempts, old.timeout_seconds, old.on_worker_lost)
      is distinct from (new.priority, new.run_at, new.gate, new.attempts, new.max_attempts, new.timeout_seconds, new.on_worker_lost)
  ) execute function jobs.tg_refuse_column_change('one of priority, run_at, gate, attempts, max_attempts, timeout_seconds, on_worker_lost');
create trigger tg_5_refuse_input_change before update of input_data on jobs.tb_job_run
  for each row when (
    current_user <> 'ergon_owner' and old.status = 'running' and old.input_data is distinct from new.input_data
  ) execute function jobs.tg_refuse_column_change('input_data');

-- Artifacts stay: they are facts that others may refer to by digest.
create function jobs.tg_forget_deleted_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  forgotten record;
begin
  for forgotten in
    select q.job_id, q.fence from jobs.tb_job_queue q join old_rows o on o.id = q.job_id where q.state = 'executing'
  loop
    perform jobs.tell_cancelled(forgotten.job_id, forgotten.fence);
  end loop;
  with live as materialized (
    select q.job_id from jobs.tb_job_queue q join old_rows o on o.id = q.job_id for update of q skip locked
  )
  delete from jobs.tb_job_queue q using live where q.job_id = live.job_id;
  delete from jobs.tb_job_output t using old_rows o where t.job_id = o.id;
  delete from jobs.tb_job_attempt t using old_rows o where t.job_id = o.id;
  delete from jobs.tb_late_result t using old_rows o where t.job_id = o.id;
  return null;
end $$;
create trigger tg_forget_deleted_jobs after delete on jobs.tb_job_run
  referencing old table as old_rows for each statement execute function jobs.tg_forget_deleted_jobs();

create function jobs.tg_forget_all_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Not a TRUNCATE: it would wait for claims that wait for the wide table we hold.
  delete from jobs.tb_job_queue q where q.job_id in (select l.job_id from jobs.tb_job_queue l for update skip locked);
  delete from jobs.tb_job_output;
  delete from jobs.tb_job_attempt;
  delete from jobs.tb_late_result;
  return null;
end $$;
create trigger tg_forget_all_jobs after truncate on jobs.tb_job_run
  for each statement execute function jobs.tg_forget_all_jobs();

-- The same as calls, for roles that have functions and no table -----------------------------------------------------------
create function jobs.cancel_job(job_id uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  running_fence uuid;
begin
  delete from jobs.tb_job_queue q where q.job_id = cancel_job.job_id returning q.fence into running_fence;
  update jobs.tb_job_run j
  set status = 'cancelled',
      completed_at = clock_timestamp(),
      updated_at = clock_timestamp()
  where j.id = cancel_job.job_id and j.status in ('pending', 'running');
  if found then
    perform jobs.tell_cancelled(cancel_job.job_id, running_fence);
    return 'cancelled';
  end if;
  perform from jobs.tb_job_run j where j.id = cancel_job.job_id;
  return case when found then 'finished' else 'not_found' end;
end $$;

create function jobs.retry_job(job_id uuid) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  -- The triggers above do the rest, as they do for an application's UPDATE.
  update jobs.tb_job_run j set status = 'pending' where j.id = retry_job.job_id and j.status = 'failed';
  if found then
    return 'queued';
  end if;
  perform from jobs.tb_job_run j where j.id = retry_job.job_id;
  return case when found then 'not_failed' else 'not_found' end;
end $$;

-- Existing external workers ---------------------------------------------------------------------------------------------
-- A running job without a live row is an external worker's. Everything else is ours, and their word on it is late.
create function jobs.mark_job_started(job_id uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  delete from jobs.tb_job_queue q where q.job_id = mark_job_started.job_id and q.state <> 'executing';
  if not found then
    perform jobs.count_late(array[mark_job_started.job_id], 'mark_job_started');
    return;
  end if;
  update jobs.tb_job_run j
  set status = 'running',
      attempts = coalesce(j.attempts, 0) + 1,
      started_at = clock_timestamp(),
      updated_at = clock_timestamp(),
      error_message = null, failure = null, failure_category = null, failure_code = null
  where j.id = mark_job_started.job_id and j.status = 'pending';
end $$;

create function jobs.complete_job_successfully(job_id uuid, output jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  update jobs.tb_job_run j
  set status = 'completed',
      output_data = complete_job_successfully.output,
      completed_at = clock_timestamp(),
      updated_at = clock_timestamp()
  where j.id = complete_job_successfully.job_id
    and j.status = 'running'
    and not exists (select from jobs.tb_job_queue q where q.job_id = j.id);
  if not found then
    perform jobs.count_late(array[complete_job_successfully.job_id], 'complete_job_successfully');
  end if;
end $$;

create function jobs.fail_job(job_id uuid, error_text text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  update jobs.tb_job_run j
  set status = 'failed',
      error_message = left(fail_job.error_text, 65536),
      completed_at = clock_timestamp(),
      updated_at = clock_timestamp()
  where j.id = fail_job.job_id
    and j.status = 'running'
    and not exists (select from jobs.tb_job_queue q where q.job_id = j.id);
  if not found then
    perform jobs.count_late(array[fail_job.job_id], 'fail_job');
  end if;
end $$;
