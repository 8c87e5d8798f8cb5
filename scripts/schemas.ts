/**
 * Writes what is published of the documents that commands print: a JSON Schema each under
 * `docs/schemas/`, and the field tables of `docs/CLI_JSON.md`. A test holds both current.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { format, resolveConfig } from 'prettier';
import * as cliDocuments from '../src/core/cli/documents.ts';
import * as gatewayDocuments from '../src/core/localapi/schemas.ts';
import { COMMANDS_OF } from './document-commands.ts';
import { MEANINGS } from './document-meanings.ts';
import { ROOT } from './root.ts';

const SCHEMA_FOLDER = path.join(ROOT, 'docs', 'schemas');
const FIELDS_FILE = path.join(ROOT, 'docs', 'CLI_JSON.md');
const FIELDS_MARK = '<!-- Below: written by scripts/schemas.ts -->';

interface Schema {
  readonly $id?: string;
  readonly type?: string;
  readonly const?: unknown;
  readonly format?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** The schemas of all documents, by id. */
export function documentSchemas(): Map<string, Schema> {
  const all = [...Object.values(gatewayDocuments), ...Object.values(cliDocuments)] as Schema[];
  const named = all.filter((schema) => schema.$id !== undefined);
  return new Map(named.map((schema) => [schema.$id ?? '', schema] as const).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** File name and contents of every published schema. */
export async function schemaFiles(): Promise<Map<string, string>> {
  const files = [...documentSchemas()].map(async ([id, schema]) => {
    const published = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      ...schema,
      $id: `${id}.schema.json`,
      title: id,
    };
    return [`${id}.schema.json`, await pretty(JSON.stringify(published), 'json')] as const;
  });
  return new Map(await Promise.all(files));
}

/** `docs/CLI_JSON.md` as it should be: what was written by hand, then the field tables. */
export async function fieldsDocument(): Promise<string> {
  const byHand = readFileSync(FIELDS_FILE, 'utf8').split(FIELDS_MARK)[0] ?? '';
  const sections = [...documentSchemas()].map(([id, schema]) => {
    const commands = COMMANDS_OF[id] ?? [];
    const intro = commands.map((command) => (command.startsWith('sgw ') ? `\`${command}\`` : command)).join(', ');
    const rows = fieldRows(id, '', schema).map(([name, type, meaning]) => `| \`${name}\` | ${type} | ${meaning} |`);
    return [
      `## ${id}`,
      '',
      `Printed by ${intro}. Schema: [${id}.schema.json](schemas/${id}.schema.json).`,
      '',
      '| field | type | meaning |',
      '| --- | --- | --- |',
      ...rows,
    ].join('\n');
  });
  return await pretty(`${byHand}${FIELDS_MARK}\n\n${sections.join('\n\n')}\n`, 'markdown');
}

/** The fields, nested ones by their path, with type and meaning. */
export function fieldRows(id: string, prefix: string, schema: Schema): [string, string, string][] {
  const rows: [string, string, string][] = [];
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const place = `${prefix}${name}`;
    rows.push([place, typeOf(field), meaningOf(id, place, name, field)]);
    const inner = objectIn(field);
    if (inner !== undefined) rows.push(...fieldRows(id, `${place}${isList(field) ? '[]' : ''}.`, inner));
  }
  return rows;
}

function meaningOf(id: string, place: string, name: string, field: Schema): string {
  return MEANINGS[`${id}.${place}`] ?? MEANINGS[name] ?? field.description ?? '';
}

function typeOf(schema: Schema): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' \\| ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (isList(schema)) return `list of ${schema.items === undefined ? 'values' : typeOf(schema.items)}`;
  if (schema.format === 'date-time') return 'time';
  return schema.type ?? 'any';
}

const isList = (schema: Schema): boolean => schema.type === 'array';

function objectIn(schema: Schema): Schema | undefined {
  if (schema.properties !== undefined) return schema;
  if (schema.items !== undefined) return objectIn(schema.items);
  return schema.anyOf?.map(objectIn).find((inner) => inner !== undefined);
}

const pretty = async (text: string, parser: string): Promise<string> =>
  format(text, { ...(await resolveConfig(FIELDS_FILE)), parser });

async function writeAll(): Promise<void> {
  mkdirSync(SCHEMA_FOLDER, { recursive: true });
  const files = await schemaFiles();
  for (const name of readdirSync(SCHEMA_FOLDER)) if (!files.has(name)) rmSync(path.join(SCHEMA_FOLDER, name));
  for (const [name, text] of files) writeFileSync(path.join(SCHEMA_FOLDER, name), text);
  writeFileSync(FIELDS_FILE, await fieldsDocument());
}

if (process.argv[1] === import.meta.filename) await writeAll();
