-- Callbacks that wait for an earlier one of their job are known as such. A claim met all of them each time it looked, for as
-- long as the earlier ones were put aside, on a connection that its worker needs for everything.
--
-- Whoever records a callback reads whether an earlier one is owed, and whoever deletes that one lets the next one go on.
-- Neither waits for the other: an application's transaction may take as long as it likes, and the one that runs a callback
-- must not. So if both are under way at once, neither sees the other's row, and the callback goes on waiting for nothing;
-- what every worker looks through each second finds it. The order is not at stake: a claim looks for itself whether an
-- earlier one is owed.

alter table jobs.tb_job_callback add column waits boolean not null default false;
comment on column jobs.tb_job_callback.waits is 'for an earlier one of its job; it may still say so for a moment after that one is gone';

update jobs.tb_job_callback c set waits = true
where exists (select from jobs.tb_job_callback e where e.job_id = c.job_id and e.callback_id < c.callback_id);

-- By outcome as well: where one of two functions was withdrawn, what is owed to it is not met by those who claim for the other.
drop index jobs.ix_job_callback_due;
create index ix_job_callback_due on jobs.tb_job_callback (registration_id, outcome, due_at) where failed_at is null and not waits;
create index ix_job_callback_waiting on jobs.tb_job_callback (callback_id, job_id) where waits;

-- Record -------------------------------------------------------------------------------------------------------------
-- Two outcomes of one job are not recorded at once: whoever records has the job's row locked until the commit.
create or replace function jobs.tg_owe_callback() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
  insert into jobs.tb_job_callback
    (registration_id, job_id, outcome, tenant_id, triggered_by, entity_pk, output_data, error_message, waits)
  select c.registration_id, new.id, case when new.status = 'completed' then 'success' else 'failure' end,
         new.tenant_id, new.triggered_by, new.entity_pk,
         -- Not null: a strict function would be passed over in silence.
         case when new.status = 'completed' then coalesce(new.output_data, 'null') end,
         case new.status
           when 'cancelled' then 'CANCELLED: the job was cancelled'
           when 'failed' then coalesce(left(new.error_message, 65536), 'the job failed without a message')
         end,
         exists (select from jobs.tb_job_callback e where e.job_id = new.id)
  from jobs.tb_callback c
  -- The collations are stated: an adopted table may have others, and must go on recording.
  where c.entity = new.entity_type collate "C" and c.service = lower(new.service_name) collate "C"
    and c.operation = lower(new.operation) collate "C"
    and case when new.status = 'completed' then c.success_function else c.failure_function end is not null;
  return null;
end $$;

-- Go on --------------------------------------------------------------------------------------------------------------
-- Waits for nobody: one that somebody has locked is left to the next sweep, and so is one that was changed since the snapshot of
-- an owner who deletes in repeatable read.
create function jobs.end_callback_waits(p_callback_ids bigint[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  update jobs.tb_job_callback c
  set waits = false
  where c.callback_id = any (array(
    select w.callback_id from jobs.tb_job_callback w where w.callback_id = any (p_callback_ids) and w.waits for update skip locked));
exception
  when serialization_failure then null;
end $$;

-- Of each row, and by the plainest of queries: the sessions that run callbacks discard their plans after each.
create function jobs.tg_end_callback_wait() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  next record;
begin
  select c.callback_id, c.waits into next from jobs.tb_job_callback c where c.job_id = old.job_id order by c.callback_id limit 1;
  if next.waits then
    perform jobs.end_callback_waits(array[next.callback_id]);
  end if;
  return null;
end $$;
create trigger tg_end_callback_wait after delete on jobs.tb_job_callback
  for each row execute function jobs.tg_end_callback_wait();

-- For a worker: looks at the next thousand that wait, lets those go on that wait for nothing, and tells after which number the
-- next look begins.
create function jobs.sweep_callback_waits(p_after bigint) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  seen record;
begin
  with looked_at as materialized (
    select c.callback_id, c.job_id from jobs.tb_job_callback c
    where c.waits and c.callback_id > p_after order by c.callback_id limit 1000
  )
  select count(*) as many, max(l.callback_id) as last_id,
         array_agg(l.callback_id) filter (where not exists (
           select from jobs.tb_job_callback e where e.job_id = l.job_id and e.callback_id < l.callback_id)) as free_ids
  into seen
  from looked_at l;
  if seen.free_ids is not null then
    perform jobs.end_callback_waits(seen.free_ids);
  end if;
  return case when seen.many = 1000 then seen.last_id else 0 end;
end $$;

-- Run ----------------------------------------------------------------------------------------------------------------
-- What a function is registered for and something is owed to that waits for no other callback. One step through the index
-- for each, whatever its number of rows.
create function jobs.callable_outcomes(p_busy integer[]) returns table (registration_id integer, outcome text)
language sql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
  with recursive owed (registration_id, outcome) as (
    (select c.registration_id, c.outcome from jobs.tb_job_callback c
     where c.failed_at is null and not c.waits order by c.registration_id, c.outcome limit 1)
    union all
    select n.registration_id, n.outcome
    from owed o
    cross join lateral (
      select c.registration_id, c.outcome from jobs.tb_job_callback c
      where c.failed_at is null and not c.waits and (c.registration_id, c.outcome) > (o.registration_id, o.outcome)
      order by c.registration_id, c.outcome limit 1
    ) n
  )
  select o.registration_id, o.outcome
  from owed o
  join jobs.tb_callback r on r.registration_id = o.registration_id
  where o.registration_id <> all (p_busy)
    and case o.outcome when 'success' then r.success_function else r.failure_function end is not null;
$$;

-- For a worker that has no session to run one in, and opens none for nothing.
create function jobs.has_due_callback(p_busy integer[]) returns boolean
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
declare
  moment timestamptz := clock_timestamp();
begin
  return exists (
    select
    from jobs.callable_outcomes(p_busy) k
    cross join lateral (
      select from jobs.tb_job_callback c
      where c.failed_at is null and not c.waits and c.registration_id = k.registration_id and c.outcome = k.outcome
        and c.due_at <= moment
        and not exists (select from jobs.tb_job_callback e where e.job_id = c.job_id and e.callback_id < c.callback_id)
      order by c.due_at limit 1
    ) d);
end $$;

-- As before, by the new index.
create or replace function jobs.claim_callbacks(p_most integer, p_busy integer[], p_lease_ms integer)
returns table (callback_id bigint, token uuid, registration_id integer, job_id uuid, outcome text, attempts integer)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '2s'
set enable_seqscan = off
set enable_bitmapscan = off
set jit = off
as $$
#variable_conflict use_column
declare
  moment timestamptz := clock_timestamp();
begin
  return query
  with ready as materialized (
    select k.registration_id, array_agg(k.outcome) as outcomes
    from jobs.callable_outcomes(p_busy) k
    group by k.registration_id
    order by random()
  ), taken as materialized (
    select d.callback_id
    from ready r
    cross join lateral (
      select h.callback_id
      from unnest(r.outcomes) k (outcome)
      cross join lateral (
        select c.callback_id, c.due_at from jobs.tb_job_callback c
        where c.failed_at is null and not c.waits and c.registration_id = r.registration_id and c.outcome = k.outcome
          and c.due_at <= moment
          and not exists (select from jobs.tb_job_callback e where e.job_id = c.job_id and e.callback_id < c.callback_id)
        order by c.due_at limit 1
        for update of c skip locked
      ) h
      order by h.due_at limit 1
    ) d
    limit p_most
  ), claimed as (
    update jobs.tb_job_callback c
    set attempts = least(c.attempts + 1, c.max_attempts),
        token = case when c.attempts < c.max_attempts then gen_random_uuid() end,
        due_at = moment + make_interval(secs => p_lease_ms / 1000.0),
        -- Its last run was never told the end of.
        failed_at = case when c.attempts >= c.max_attempts then moment end,
        last_error = case when c.attempts >= c.max_attempts
                       then coalesce(c.last_error, 'the session or the worker ended while the callback ran') else c.last_error end,
        last_error_at = case when c.attempts >= c.max_attempts then coalesce(c.last_error_at, moment) else c.last_error_at end
    where c.callback_id = any (array(select t.callback_id from taken t))
    returning c.callback_id, c.token, c.registration_id, c.job_id, c.outcome, c.attempts
  )
  select * from claimed d where d.token is not null;
end $$;

grant execute on function jobs.has_due_callback(integer[]), jobs.sweep_callback_waits(bigint) to ergon_worker;
grant select (waits) on jobs.tb_job_callback to ergon_api;
