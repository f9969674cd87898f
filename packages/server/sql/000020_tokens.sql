-- Whoever names an entity chooses which callbacks the end of a job calls: a scope of its own, which no token has until it is given one.
alter table jobs.tb_api_token
  drop constraint ck_api_token_scopes,
  add constraint ck_api_token_scopes check (
    cardinality(scopes) > 0 and scopes <@ array['submit', 'entities', 'read', 'cancel', 'artifacts', 'admin']);
