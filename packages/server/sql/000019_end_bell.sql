-- Whoever waits for the ends of jobs holds the lock of this key, shared, on the session that listens for ergon_end.
create function jobs.end_doorbell_key() returns bigint
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select hashtextextended('ergon.end', 0);
$$;
grant execute on function jobs.end_doorbell_key() to ergon_api;

-- A job that has ended has no live row. Where nobody waits this costs a statement one look at a lock. It tells ids and no
-- more, because anybody may listen; who hears them looks for himself what has become of the jobs.
create function jobs.tg_ring_ends() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  doorbell bigint := jobs.end_doorbell_key();
begin
  if pg_try_advisory_lock(doorbell) then
    perform pg_advisory_unlock(doorbell);
  else
    -- A payload has room for 8000 bytes, and an id takes 37.
    perform pg_notify('ergon_end', string_agg(g.job_id::text, ' '))
    from (select e.job_id, (row_number() over () - 1) / 200 as part from ended e) g
    group by g.part;
  end if;
  return null;
end $$;
create trigger tg_ring_ends after delete on jobs.tb_job_queue
  referencing old table as ended for each statement execute function jobs.tg_ring_ends();
