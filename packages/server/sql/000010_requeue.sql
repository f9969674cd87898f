-- An application may delete a job and insert another under its id. If somebody holds the old live row at that moment, the
-- delete passes it by, and the new job found its place taken: its holder then removed the old row, and the new job waited
-- for ever. Waiting for the holder is no way out: it may be waiting for the wide row that the application has locked.
-- So the new job is noted here, by the same transaction, and gets its live row as soon as the old one is out of the way.
create table jobs.tb_job_requeue (
  job_id uuid not null,
  -- Of the live row in the way: a later one is the job's own.
  stale_seq bigint not null,
  primary key (job_id, stale_seq)
);

-- Of these ids those that may be queued, in the order given: a live row in the way is removed, or noted when it is held.
create function jobs.clear_stale_live_rows(p_job_ids uuid[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  stale_ids uuid[];
begin
  select array_agg(q.job_id) into stale_ids
  from unnest(p_job_ids) g (id)
  cross join lateral (select l.job_id from jobs.tb_job_queue l where l.job_id = g.id offset 0) q;
  if stale_ids is null then
    return p_job_ids;
  end if;
  delete from jobs.tb_job_queue q
  where q.job_id in (select l.job_id from jobs.tb_job_queue l where l.job_id = any (stale_ids) for update skip locked);
  insert into jobs.tb_job_requeue (job_id, stale_seq)
  select q.job_id, q.seq from jobs.tb_job_queue q where q.job_id = any (stale_ids)
  on conflict do nothing;
  return (
    select coalesce(array_agg(g.id order by g.position), '{}')
    from unnest(p_job_ids) with ordinality g (id, position)
    where not exists (select from jobs.tb_job_queue q where q.job_id = g.id));
end $$;

-- Gives pending rows of the wide table their live row, in the order given.
create or replace function jobs.queue_jobs(p_job_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  woken_lane text;
  free_ids uuid[] := jobs.clear_stale_live_rows(p_job_ids);
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
      from unnest(free_ids) with ordinality g (id, position)
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

-- Queues the jobs that were noted, as far as nobody holds what is in their way. Waits for nobody. Returns how many it looked at to the end.
create function jobs.requeue_jobs() returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  noted jobs.tb_job_requeue;
  is_in_the_way boolean;
  current_status text;
  settled_count integer := 0;
begin
  for noted in
    select * from jobs.tb_job_requeue r order by r.job_id, r.stale_seq limit 1000 for update skip locked
  loop
    perform from jobs.tb_job_queue q where q.job_id = noted.job_id and q.seq = noted.stale_seq for update skip locked;
    is_in_the_way := found;
    if not is_in_the_way and exists (select from jobs.tb_job_queue q where q.job_id = noted.job_id and q.seq = noted.stale_seq) then
      continue;
    end if;
    -- Locked, so that an application that deletes the job once more finds the live row that it gets here.
    select j.status into current_status from jobs.tb_job_run j where j.id = noted.job_id for no key update skip locked;
    if not found then
      if exists (select from jobs.tb_job_run j where j.id = noted.job_id) then
        continue;
      end if;
      current_status := null;
    end if;
    if current_status = 'pending' then
      if is_in_the_way then
        delete from jobs.tb_job_queue q where q.job_id = noted.job_id and q.seq = noted.stale_seq;
      end if;
      if not exists (select from jobs.tb_job_queue q where q.job_id = noted.job_id) then
        perform jobs.queue_jobs(array[noted.job_id]);
      end if;
    end if;
    -- Running by now: a claim took the old live row for the new job, and it goes its usual way.
    delete from jobs.tb_job_requeue r where r.job_id = noted.job_id and r.stale_seq = noted.stale_seq;
    settled_count := settled_count + 1;
  end loop;
  return settled_count;
end $$;

-- Returns how many jobs became ready.
create or replace function jobs.promote_jobs() returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  promoted_lanes text[];
  promoted_lane text;
begin
  perform jobs.requeue_jobs();
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
