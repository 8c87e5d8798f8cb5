/** Writes docs/openapi.json, the description of the block API, from the schemas that requests are checked against. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { format, resolveConfig } from 'prettier';
import type { TSchema } from 'typebox';
import * as documents from '../src/core/protocol/blockapi/documents.ts';
import { BLOCK_API, type BlockApiOperation } from '../src/core/protocol/blockapi/index.ts';
import { ROOT } from './root.ts';

const FILE = path.join(ROOT, 'docs', 'openapi.json');

interface ObjectSchema {
  readonly $id?: string;
  readonly properties?: Readonly<Record<string, object>>;
  readonly required?: readonly string[];
}

const idOf = (schema: TSchema): string => {
  const { $id } = schema as ObjectSchema;
  if ($id === undefined) throw new Error('a document needs an id');
  return $id;
};

const json = (schema: TSchema): object => ({
  'application/json': { schema: { $ref: `#/components/schemas/${idOf(schema)}` } },
});

const BLOCK = {
  'application/octet-stream': {
    schema: {
      type: 'string',
      format: 'binary',
      minLength: documents.BLOCK_API_BYTES,
      maxLength: documents.BLOCK_API_BYTES,
    },
  },
};

const DIGEST = { type: 'string', pattern: '^sha-256=:[A-Za-z0-9+/]{43}=:$' };

const PATH_PARAMETERS: Readonly<Record<string, object>> = {
  volumeId: documents.VolumeIdText,
  snapshotId: documents.SnapshotIdText,
  block: { type: 'integer', minimum: 0, description: 'Counted in 512 KiB.' },
};

function parametersOf({ path: template, query, request }: BlockApiOperation): object[] {
  const inPath = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    ...{ name, in: 'path', required: true, schema: PATH_PARAMETERS[name] },
  }));
  const { properties = {}, required = [] } = query as ObjectSchema;
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    ...{ name, in: 'query', required: required.includes(name), schema },
  }));
  const digest = { name: 'content-digest', in: 'header', required: true, schema: DIGEST, description: 'RFC 9530' };
  return [...inPath, ...inQuery, ...(request === 'block' ? [digest] : [])];
}

function operationOf(operationId: string, operation: BlockApiOperation): object {
  const { summary, request, answer, status } = operation;
  const parameters = parametersOf(operation);
  const description = status === 201 ? 'Created' : status === 204 ? 'Stored' : 'Done';
  const success =
    answer === null
      ? { description }
      : answer === 'block'
        ? { description, headers: { 'content-digest': { schema: DIGEST } }, content: BLOCK }
        : { description, content: json(answer) };
  return {
    operationId,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(request === null
      ? {}
      : { requestBody: { required: true, content: request === 'block' ? BLOCK : json(request) } }),
    responses: {
      [String(status)]: success,
      default: { description: 'Refused, or failed', content: json(documents.Failure) },
    },
  };
}

/** Documents within documents are named, and written once. */
function withReferences(schema: unknown, isOwn = true): unknown {
  if (Array.isArray(schema)) return schema.map((item) => withReferences(item, false));
  if (typeof schema !== 'object' || schema === null) return schema;
  const { $id, ...rest } = schema as ObjectSchema;
  if ($id !== undefined && !isOwn) return { $ref: `#/components/schemas/${$id}` };
  return Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, withReferences(value, false)]));
}

/** The description as it should be. */
export async function openApiText(): Promise<string> {
  const paths: Record<string, Record<string, object>> = {};
  for (const [name, operation] of Object.entries(BLOCK_API))
    (paths[operation.path] ??= {})[operation.method.toLowerCase()] = operationOf(name, operation);
  const schemas = Object.values(documents).filter(
    (value) => typeof value === 'object' && (value as ObjectSchema).$id !== undefined,
  ) as ObjectSchema[];
  schemas.sort((a, b) => ((a.$id ?? '') < (b.$id ?? '') ? -1 : 1));
  const document = {
    openapi: '3.1.1',
    info: {
      title: 'sgw block API',
      version: '1',
      description:
        'Block volumes without a gateway. Requests are signed by AWS Signature Version 4, signing name `sgw`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [
      {
        url: 'https://{place}',
        variables: { place: { default: 'localhost:8443', description: '`--listen` of `sgw service run`' } },
      },
    ],
    security: [{ sigv4: [] }],
    paths,
    components: {
      schemas: Object.fromEntries(schemas.map((schema) => [schema.$id ?? '', withReferences(schema)])),
      securitySchemes: {
        sigv4: {
          type: 'apiKey',
          name: 'authorization',
          in: 'header',
          description: 'AWS4-HMAC-SHA256, signing name sgw',
        },
      },
    },
  };
  return await format(JSON.stringify(document), { ...(await resolveConfig(FILE)), parser: 'json' });
}

if (process.argv[1] === import.meta.filename) writeFileSync(FILE, await openApiText());
