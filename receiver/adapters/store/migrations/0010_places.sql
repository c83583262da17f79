-- Several repositories that take run files: a pull request's number says something only beside its repository.

-- The repository by our name for it: the forge's number or `local` for the catalog's own, `<place>/<number>` for any
-- other. Null: proposed before it was written down, so in the catalog's.
ALTER TABLE cases ADD COLUMN repository text;
DROP INDEX cases_proposal;
CREATE INDEX cases_proposal ON cases (proposal, repository) WHERE proposal IS NOT NULL;

-- The built-in forge can be that of several repositories. Its numbers stay those of one list.
ALTER TABLE pull_requests ADD COLUMN repository text NOT NULL DEFAULT 'local';
