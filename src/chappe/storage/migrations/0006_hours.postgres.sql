-- Which rule moved due_at last, a pack and its rule: fr-af2m-2026:sunday.
ALTER TABLE message ADD COLUMN held_by text;
