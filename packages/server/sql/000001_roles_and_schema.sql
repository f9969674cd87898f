-- Roles belong to the cluster, so another database's migrator may create the same ones at the same moment.
do $$
declare
  role_name text;
begin
  foreach role_name in array array['ergon_owner', 'ergon_worker', 'ergon_api', 'ergon_enqueue', 'ergon_callback'] loop
    if not exists (select from pg_catalog.pg_roles r where r.rolname = role_name) then
      begin
        execute format('create role %I nologin', role_name);
      exception
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;
  -- PostgreSQL 16 makes the creator an administrator of the role without the right to become it.
  if not pg_has_role(current_user, 'ergon_owner', 'usage') then
    execute format('grant ergon_owner to %I', current_user);
  end if;
end $$;

create schema if not exists jobs authorization ergon_owner;

-- Not limited to the schema: a default privilege of one schema cannot take away what the global default gives.
alter default privileges for role ergon_owner revoke execute on functions from public;

create table jobs.tb_schema_migration (
  version integer primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
);
alter table jobs.tb_schema_migration owner to ergon_owner;
