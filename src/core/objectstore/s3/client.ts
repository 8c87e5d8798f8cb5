/** The SDK's client for a place, set up so that one call is one request: retries are a layer of ours. */
import { GetObjectCommand, PutObjectCommand, S3Client, type PutObjectCommandInput } from '@aws-sdk/client-s3';
import type { Clock } from '../../kit/index.ts';
import type { OnRequest, StoreOperation } from '../meter.ts';
import { carry, type OutgoingBody } from './body.ts';
import { Connections } from './connections.ts';
import { DirectRequests, type DirectObject } from './direct.ts';
import type { S3Place } from './place.ts';

/** Until a connection is there. */
const CONNECT_TIMEOUT_MS = 5000;
/** A connection on which nothing moves for so long is given up. */
const IDLE_TIMEOUT_MS = 15_000;
/** Region of the signature where a server has none of its own. */
const NO_REGION = 'us-east-1';
const ignore = (): void => undefined;
/** Without one the SDK writes to standard error, such as of each request with a stream that fails; failures are thrown. */
const SILENT = { trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };
/** The date of an answer is in whole seconds. */
const HALF_SECOND_MS = 500;

/** What the server of Ceph, which does not tell its name, is called here. */
export const CEPH = 'Ceph RGW';

/** What the answers' headers said, kept up to date. */
export interface SeenOfServer {
  /** Time of the server less time of this machine, milliseconds; good to a second. Undefined before the first answer. */
  clockOffsetMs: number | undefined;
  /** Its name of itself. */
  server: string | undefined;
}

/** What sends one request for each call, and answers or throws as the SDK does. */
export interface S3Sender extends Pick<S3Client, 'send' | 'destroy'> {
  /** For objects themselves, where the server is named by its endpoint. */
  readonly direct?: DirectRequests | undefined;
}

export interface ClientOptions {
  readonly place: S3Place;
  readonly clock: Clock;
  readonly seen: SeenOfServer;
  readonly connectionsMax: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly idleTimeoutMs?: number;
  /** Told of each request, under keys of the store. */
  readonly onRequest?: OnRequest;
}

/** Credentials are what the SDK finds in the environment, in profiles, or from the machine's own role. */
export function s3Client(options: ClientOptions): S3Sender {
  const { place, clock, seen, connectionsMax, env, idleTimeoutMs, onRequest } = options;
  const { endpoint } = place;
  const region = place.region ?? (endpoint === undefined ? undefined : (env['AWS_REGION'] ?? NO_REGION));
  const connections = new Connections(connectionsMax);
  const client = new S3Client({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? { followRegionRedirects: true } : { endpoint }),
    forcePathStyle: place.pathStyle,
    maxAttempts: 1,
    logger: SILENT,
    // Many servers refuse bodies in frames with trailing checksums; a body's SHA-256 is in its signature anyway.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // It would take a new connection for each large object.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: idleTimeoutMs ?? IDLE_TIMEOUT_MS,
      ...connections.agents,
    },
  });
  dropOnFailure(client, connections);
  const onAnswer = (headers: AnswerHeaders, sentMs: number): void => {
    const serverMs = Date.parse(headers['date'] ?? '');
    if (Number.isFinite(serverMs)) seen.clockOffsetMs = serverMs + HALF_SECOND_MS - (sentMs + clock.nowMs()) / 2;
    seen.server = serverName(headers) ?? seen.server;
  };
  client.middlewareStack.add(
    (next) => async (args) => {
      const sentMs = clock.nowMs();
      const result = await next(args);
      onAnswer((result.response as { headers?: AnswerHeaders }).headers ?? {}, sentMs);
      return result;
    },
    { step: 'deserialize', name: 'sgwSeenOfServer', priority: 'low' },
  );
  if (onRequest !== undefined) tellRequests(client, place, onRequest);
  const direct =
    endpoint === undefined
      ? undefined
      : new DirectRequests({
          ...{ place: { ...place, endpoint }, config: client.config, connections, clock, onAnswer, onRequest },
          connectTimeoutMs: CONNECT_TIMEOUT_MS,
          idleTimeoutMs: idleTimeoutMs ?? IDLE_TIMEOUT_MS,
          clockOffsetMs: () => seen.clockOffsetMs,
        });
  return {
    send: client.send.bind(client),
    destroy: () => {
      client.destroy();
    },
    direct,
  };
}

/** An object or a part of it, its body unread. */
export async function getObject(
  client: S3Sender,
  { Bucket, Key, Range }: { readonly Bucket: string; readonly Key: string; readonly Range: string | undefined },
  abortSignal: AbortSignal,
): Promise<DirectObject> {
  if (client.direct !== undefined) return await client.direct.get(Key, Range, abortSignal);
  const command = new GetObjectCommand({ Bucket, Key, ...(Range === undefined ? {} : { Range }) });
  return await client.send(command, { abortSignal });
}

/** The etag of what was put. */
export async function putObject(
  client: S3Sender,
  input: PutObjectCommandInput,
  body: OutgoingBody,
  abortSignal: AbortSignal,
): Promise<string | undefined> {
  const { direct } = client;
  if (direct !== undefined && body.pieces !== undefined) return (await direct.put(input, body, abortSignal)).ETag;
  const command = new PutObjectCommand({ ...input, Body: body.content() });
  carry(command, body);
  return (await client.send(command, { abortSignal })).ETag;
}

type AnswerHeaders = Readonly<Record<string, string | undefined>>;

/** Below everything else, where what is thrown is of the connection: answers that are errors are told from others further up. */
function dropOnFailure(client: S3Client, connections: Connections): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args);
      } catch (error) {
        // One that was stopped says nothing of the way.
        if ((error as Error).name !== 'AbortError') connections.dropIdle();
        throw error;
      }
    },
    { step: 'deserialize', name: 'sgwDropIdle', priority: 'low' },
  );
}

const OPERATIONS: Readonly<Record<string, StoreOperation>> = {
  PutObjectCommand: 'put',
  GetObjectCommand: 'get',
  HeadObjectCommand: 'head',
  ListObjectsV2Command: 'list',
  DeleteObjectCommand: 'delete',
};

/** Nearest to the wire, where a request that is sent again, such as to another region, comes by again. */
function tellRequests(client: S3Client, place: S3Place, onRequest: OnRequest): void {
  const skipped = place.prefix === '' ? 0 : place.prefix.length + 1;
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const operation = OPERATIONS[context.commandName ?? ''];
      if (operation === undefined) return await next(args);
      const input = args.input as { Key?: string; Prefix?: string; ContentLength?: number };
      const key = (input.Key ?? input.Prefix ?? '').slice(skipped);
      let downBytes = 0;
      try {
        const result = await next(args);
        const { statusCode = 0, headers } = result.response as {
          statusCode?: number;
          headers?: Readonly<Record<string, string | undefined>>;
        };
        const isBody = operation === 'get' && statusCode >= 200 && statusCode < 300;
        if (isBody) downBytes = Number(headers?.['content-length'] ?? 0);
        return result;
      } finally {
        onRequest({ operation, key, upBytes: operation === 'put' ? (input.ContentLength ?? 0) : 0, downBytes });
      }
    },
    { step: 'deserialize', name: 'sgwRequests', priority: 'low' },
  );
}

/** What a server calls itself; Ceph and Swift are known by the form of their request ids. */
function serverName(headers: AnswerHeaders): string | undefined {
  if (headers['x-openstack-request-id'] !== undefined) return 'Swift';
  if (/^tx[0-9a-f]+-[0-9a-f]+-[0-9a-f]+-./.test(headers['x-amz-request-id'] ?? '')) return CEPH;
  return headers['server'];
}
