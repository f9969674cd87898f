-- ergon: online. Each statement commits by itself and none holds a lock that writers wait for; every one can be repeated.

-- Lists of all tenants' jobs, the newest first, a page at a time.
create index concurrently if not exists ix_job_run_newest on jobs.tb_job_run (created_at desc, id desc);
