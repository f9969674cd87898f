-- Whoever waits for the end of a job holds the lock of its key, shared, on the session that listens for ergon_end. There are
-- 256 keys: a notification takes a lock over all commits of the server, so what ends other jobs must not pay for one that is
-- waited for. By the last digits of the id; those of a UUID version 7 begin with the time.
create function jobs.end_doorbell_key(p_job_id uuid) returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select hashtextextended('ergon.end.' || right(p_job_id::text, 2), 0);
$$;
grant execute on function jobs.end_doorbell_key(uuid) to ergon_api;

-- A job that has ended has no live row. Where nobody waits for it this costs one try of a lock, taken and given back in one
-- expression, so that no interruption leaves it held. It tells ids and no more, because anybody may listen; who hears them
-- looks for himself what has become of the jobs.
create function jobs.tg_ring_ends() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  -- A payload has room for 8000 bytes, and an id takes 37.
  perform pg_notify('ergon_end', string_agg(g.job_id::text, ' '))
  from (select e.job_id, (row_number() over () - 1) / 200 as part
        from (select n.job_id, jobs.end_doorbell_key(n.job_id) as doorbell from ended n offset 0) e
        where not case when pg_try_advisory_lock(e.doorbell) then pg_advisory_unlock(e.doorbell) else false end) g
  group by g.part;
  return null;
end $$;
create trigger tg_ring_ends after delete on jobs.tb_job_queue
  referencing old table as ended for each statement execute function jobs.tg_ring_ends();
