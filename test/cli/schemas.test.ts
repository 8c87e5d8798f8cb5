/** The published schemas and field tables are those of the code. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { documentSchemas, fieldRows, fieldsDocument, schemaFiles } from '../../scripts/schemas.ts';
import { COMMANDS_OF } from '../../scripts/document-commands.ts';
import { ROOT } from './run-verb.ts';

const HINT = 'run: node scripts/schemas.ts';

it('docs/schemas holds the schema of every document and nothing else', async () => {
  const folder = path.join(ROOT, 'docs', 'schemas');
  const files = await schemaFiles();
  expect(readdirSync(folder).sort(), HINT).toEqual([...files.keys()].sort());
  for (const [name, text] of files) expect(readFileSync(path.join(folder, name), 'utf8'), HINT).toBe(text);
});

it('docs/CLI_JSON.md holds the field tables of every document', async () => {
  expect(readFileSync(path.join(ROOT, 'docs', 'CLI_JSON.md'), 'utf8'), HINT).toBe(await fieldsDocument());
});

it('every document names its command and every field has a meaning', () => {
  const schemas = documentSchemas();
  expect([...schemas.keys()].filter((id) => COMMANDS_OF[id] === undefined)).toEqual([]);
  const bare = [...schemas].flatMap(([id, schema]) =>
    fieldRows(id, '', schema)
      .filter(([, , meaning]) => meaning === '')
      .map(([name]) => `${id}.${name}`),
  );
  expect(bare, 'add them to scripts/document-meanings.ts').toEqual([]);
});
