/**
 * In the SDK's place below `S3Store`: each of its commands is a step of the world, and takes effect on a bucket. What the world
 * injects is told in the words of a server, or of a connection that broke, so that the room's own reading of them runs too.
 */
import type { ListObjectsV2Command } from '@aws-sdk/client-s3';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type DeleteObjectCommandInput,
  type GetObjectCommandInput,
  type ListObjectsV2CommandInput,
  type PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import { Readable } from 'node:stream';
import { SgwError } from '../../../src/core/kit/index.ts';
import type { S3Sender, SeenOfServer } from '../../../src/core/objectstore/s3/index.ts';
import type { Choices } from '../random.ts';
import { kindOfKey } from '../sim-store.ts';
import type { Process, World } from '../world.ts';
import { answers, statusOf } from './answers.ts';
import { isConditional, type Bucket } from './bucket.ts';
import type { Dialect } from './servers.ts';

/** A signature holds so long: what arrives later is refused. */
const SIGNED_FOR_MS = 15 * 60_000;
/** A part of those that meet another one at the same key is turned away. */
const RACE_SHARE = 0.5;
/** How long a server that looks first takes to store. */
const STORES_WITHIN_MS = 50;

/** What a test breaks on purpose. */
export interface Tampering {
  /** What a request is when it arrives a second time, or after its client gave up. */
  readonly late?: (input: PutObjectCommandInput) => PutObjectCommandInput;
  /** Told of each request before it is sent. */
  readonly asked?: (request: Request) => void;
  /** What the client gets for what the server answered. */
  readonly answer?: (request: Request, answer: object) => object;
  readonly failure?: (failure: unknown) => unknown;
}

/** A conditional put that was sent and has not taken effect. */
interface Racer {
  readonly process: Process;
  readonly key: string;
  /** Another one of the same key took effect meanwhile. */
  hasMet: boolean;
}

export type UnderWay = Set<Racer>;

export interface WireParts {
  readonly world: World;
  readonly process: Process;
  readonly dialect: Dialect;
  readonly bucket: Bucket;
  readonly underWay: UnderWay;
  /** Names of the calls whose last answer was 412. */
  readonly refused: Set<string>;
  readonly choices: Choices;
  readonly listPage: number;
  readonly tampering: Tampering;
}

export interface Request {
  readonly name: string;
  readonly key: string;
  readonly put?: PutObjectCommandInput;
  readonly removes?: DeleteObjectCommandInput;
  readonly execute: (isLate: boolean) => object;
}

type Command = PutObjectCommand | GetObjectCommand | HeadObjectCommand | ListObjectsV2Command | DeleteObjectCommand;

/** What a command asks of a bucket. `truly`: of the newest, wherever that is. */
function requestOf(
  command: Command,
  bucket: Bucket,
  { truly, listPage, late }: { readonly truly: boolean; readonly listPage: number; readonly late?: Tampering['late'] },
): Request {
  const { input } = command;
  if (command instanceof PutObjectCommand) {
    const put = input as PutObjectCommandInput;
    const key = put.Key ?? '';
    const execute = (isLate: boolean): object => bucket.put(isLate && late !== undefined ? late(put) : put);
    return { name: putName(put), key, put, execute };
  }
  if (command instanceof DeleteObjectCommand) {
    const removes = input as DeleteObjectCommandInput;
    const key = removes.Key ?? '';
    return { name: `${kindOfKey(key)}.delete`, key, removes, execute: () => bucket.remove(removes) };
  }
  if (command instanceof GetObjectCommand) {
    const get = input as GetObjectCommandInput;
    const key = get.Key ?? '';
    return { name: `${kindOfKey(key)}.get`, key, execute: () => bucket.get(get, truly) };
  }
  if (command instanceof HeadObjectCommand) {
    const { Key: key = '' } = input as { Key?: string };
    return { name: `${kindOfKey(key)}.head`, key, execute: () => bucket.head(key, truly) };
  }
  const list = input as ListObjectsV2CommandInput;
  const key = list.Prefix ?? '';
  const page = { ...list, MaxKeys: Math.min(list.MaxKeys ?? listPage, listPage) };
  return { name: `${kindOfKey(key)}.list`, key, execute: () => bucket.list(page, truly) };
}

/** As failpoints are named over other stores. */
function putName({ Key = '', IfNoneMatch }: PutObjectCommandInput): string {
  const kind = kindOfKey(Key);
  if (kind === 'segment' && IfNoneMatch === undefined) return 'tombstone.put';
  return kind === 'head' && IfNoneMatch !== undefined ? 'first-head.put' : `${kind}.put`;
}

/** A body may be a stream, which is sent once: of a request that arrives twice the bytes are kept. */
async function withBytes({ input }: Command, stream: Readable): Promise<Command> {
  const Body = Buffer.concat((await Array.fromAsync(stream)) as Buffer[]);
  return new PutObjectCommand({ ...(input as PutObjectCommandInput), Body });
}

const streamOf = ({ input }: Command): Readable | undefined =>
  'Body' in input && input.Body instanceof Readable ? input.Body : undefined;

/** A sender that answers at once. */
export function trueSender(bucket: Bucket): S3Sender {
  const send = async (command: Command): Promise<object> => {
    await Promise.resolve();
    const stream = streamOf(command);
    const whole = stream === undefined ? command : await withBytes(command, stream);
    return requestOf(whole, bucket, { truly: true, listPage: 1000 }).execute(false);
  };
  return { send, destroy: () => undefined };
}

/** The sender of a process. */
export function simSender(parts: WireParts, seen: SeenOfServer): S3Sender {
  const wire = new Wire(parts, seen);
  const send = async (command: Command, options?: { readonly abortSignal?: AbortSignal }): Promise<object> =>
    wire.send(command, options?.abortSignal);
  return { send, destroy: () => undefined } as unknown as S3Sender;
}

class Wire {
  readonly #parts: WireParts;
  readonly #seen: SeenOfServer;

  constructor(parts: WireParts, seen: SeenOfServer) {
    this.#parts = parts;
    this.#seen = seen;
  }

  async send(command: Command, signal: AbortSignal | undefined): Promise<object> {
    const { bucket, listPage, tampering, world, refused } = this.#parts;
    const { late } = tampering;
    // Without a stream the request is there at once: nothing else may happen before.
    const stream = streamOf(command);
    const sent = stream === undefined ? command : await withBytes(command, stream);
    const request = requestOf(sent, bucket, {
      truly: false,
      listPage,
      ...(late === undefined ? {} : { late }),
    });
    tampering.asked?.(request);
    const whole = { isGivenUp: false };
    const name = request.put?.Metadata?.['sgw-call'] ?? '';
    refused.delete(name);
    try {
      const answer = await untilAborted(this.#call(request, whole), signal);
      this.#note();
      return tampering.answer?.(request, answer) ?? answer;
    } catch (error) {
      whole.isGivenUp = true;
      const failure = this.#worded(error);
      const status = statusOf(failure);
      if (status === 412) refused.add(name);
      if (status !== undefined) {
        world.tally.event(`answered ${String(status)}`);
        this.#note();
      }
      throw tampering.failure?.(failure) ?? failure;
    }
  }

  /** An answer shows who gives it. */
  #note(): void {
    this.#seen.server = this.#parts.dialect.server.name;
    this.#seen.clockOffsetMs = 0;
  }

  async #call(request: Request, whole: { readonly isGivenUp: boolean }): Promise<object> {
    const { world, process, underWay } = this.#parts;
    const { name, key: about, put, removes } = request;
    const writes = put !== undefined || removes !== undefined;
    const racer = put !== undefined && isConditional(put) ? { process, key: about, hasMet: false } : undefined;
    if (racer !== undefined) underWay.add(racer);
    if (writes) this.#copyLater(request);
    try {
      const takes = async (): Promise<object> => {
        if (racer !== undefined) underWay.delete(racer);
        if (whole.isGivenUp) world.tally.event(`took effect late`);
        await Promise.resolve();
        return this.#takeEffect(request, racer, whole.isGivenUp);
      };
      const answer = await world.call(process, { name, about, writes, execute: takes });
      return this.#looksFirst(request) ? await this.#storeLater(request) : answer;
    } finally {
      if (racer !== undefined) underWay.delete(racer);
    }
  }

  #takeEffect(request: Request, racer: Racer | undefined, isLate: boolean): object {
    const { bucket, choices, underWay, dialect, world } = this.#parts;
    const { put, key, removes } = request;
    if (removes !== undefined && !dialect.server.conditionalRemovals) world.tally.event('removed without a condition');
    if (put === undefined) return request.execute(isLate);
    const { race } = dialect.server;
    const rivals = [...underWay].filter((other) => other.key === key && other.process.alive);
    const isRace = racer !== undefined && (racer.hasMet || rivals.length > 0);
    for (const rival of rivals) rival.hasMet = true;
    if (isRace && race !== undefined && choices.chance(RACE_SHARE)) {
      world.tally.event(`raced: ${race}`);
      if (race === 'internal' && choices.chance(0.5)) request.execute(isLate);
      throw race === 'conflict' ? answers.conflict() : answers.internal();
    }
    if (!this.#looksFirst(request)) return request.execute(isLate);
    bucket.check(key, put);
    return {};
  }

  #looksFirst({ put }: Request): boolean {
    return this.#parts.dialect.server.conditions === 'looked-at-first' && put !== undefined && isConditional(put);
  }

  /** Nobody looks again at the condition. */
  async #storeLater({ name, put }: Request): Promise<object> {
    const { world, choices, bucket } = this.#parts;
    return await new Promise<object>((resolve) => {
      world.later(choices.integer(0, STORES_WITHIN_MS), `${name}.store`, () => {
        resolve(put === undefined ? {} : bucket.store(put));
      });
    });
  }

  /** Something on the way has kept the request, and sends it again. */
  #copyLater(request: Request): void {
    const { world, choices, dialect } = this.#parts;
    if (!choices.chance(dialect.copies ?? 0)) return;
    world.later(choices.durationMs(10, SIGNED_FOR_MS), `${request.name}.copy ${request.key}`, () => {
      try {
        request.execute(true);
        world.tally.event('copies that took effect');
      } catch {
        world.tally.event('copies that were refused');
      }
    });
  }

  /** What the world injects, as a server or a connection shows it. */
  #worded(error: unknown): unknown {
    if (!(error instanceof SgwError)) return error;
    const isBusy = this.#parts.choices.chance(0.5);
    if (error.code === 'store-error') return isBusy ? answers.slowDown() : answers.internal();
    if (error.code === 'store-conflict') return answers.conflict();
    return error.code === 'reply-lost' ? answers.reset() : error;
  }
}

/** What `work` comes to, or the failure of an aborted request once `signal` fires; `work` goes on. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    aborted.reject(answers.aborted());
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
