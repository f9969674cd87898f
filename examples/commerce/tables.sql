-- The application's own tables: the compiler makes functions, never tables.
create schema if not exists commerce;

create table if not exists commerce.orders (
  id uuid primary key default gen_random_uuid(),
  customer_name text not null,
  product text not null,
  quantity integer not null,
  total numeric(12, 2) not null,
  picture text not null,
  payment_status text not null default 'owed' check (payment_status in ('owed', 'paid', 'failed')),
  charge_id text,
  payment_error text,
  invoice_number text,
  stock_exported_at timestamptz,
  thumbnail_made_at timestamptz,
  placed_at timestamptz not null default now()
);
