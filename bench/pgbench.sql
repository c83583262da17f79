-- For pgbench: the least a durable webhook could do, its raw body in a transaction of its own.
INSERT INTO deliveries (source, body) VALUES ('bench', convert_to(repeat('x', 1300), 'UTF8'));
