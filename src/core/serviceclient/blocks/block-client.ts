/**
 * The client of the block API (docs/BLOCK_API.md), for other people's appliances: `import { BlockClient } from 'sgw/client'`.
 *
 * Every call may be made again and is, with a random delay that grows, when the service was out of reach: what creates carries
 * a client token. Blocks are checked on both sides by their SHA-256. All failures are `SgwError`s (docs/ERRORS.md).
 */
import { createHash, randomUUID } from 'node:crypto';
import { SgwError, systemClock, systemRandom, type Clock, type Random } from '../../kit/index.ts';
import {
  BLOCK_API,
  BLOCK_API_BYTES,
  type BlockApiName,
  type BlockList,
  type Deleted,
  type NewSnapshot,
  type NewVolume,
  type Snapshot,
  type SnapshotList,
  type Volume,
  type VolumeList,
} from '../../protocol/blockapi/index.ts';
import { badAnswer, resultOf } from '../answers.ts';
import { Channel, type ChannelAnswer } from '../channel.ts';
import type { Trust } from '../place.ts';
import { signedHeaders, type AccessKey } from '../sign.ts';
import { placeOfService } from '../trust.ts';

export interface BlockClientOptions extends Trust {
  /** `https://HOST:PORT` of the listener for customers. */
  readonly url: string;
  readonly accessKey: AccessKey;
  readonly signal?: AbortSignal;
  /** Of one try, milliseconds. Default 120 000. */
  readonly timeoutMs?: number;
  /** How often a call is made at most. Default 10: about a quarter of a minute. */
  readonly triesMax?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
}

const TIMEOUT_MS = 120_000;
const TRIES_MAX = 10;
const DELAY_MS = 100;
const DELAY_MAX_MS = 5000;
const POLL_MS = 500;
const NEVER = new AbortController().signal;

interface Sent extends CallOptions {
  readonly params?: Readonly<Record<string, string | number>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | object;
}

export class BlockClient implements AsyncDisposable {
  readonly #options: BlockClientOptions;
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #random: Random;

  private constructor(options: BlockClientOptions, channel: Channel) {
    this.#options = options;
    this.#channel = channel;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
  }

  /**
   * Asks nothing of the service, unless its CA is given by fingerprint.
   * @throws invalid `bad-service-url`, `bad-fingerprint`, `bad-certificate`, `one-of`; denied `service-untrusted`
   */
  static async connect(options: BlockClientOptions): Promise<BlockClient> {
    const { url, ca, fingerprint, signal = NEVER } = options;
    return new BlockClient(options, new Channel(await placeOfService(url, { ca, fingerprint }, signal)));
  }

  /** The certificates that are believed, PEM; null: those of the system. */
  get ca(): string | null {
    return this.#channel.place.ca;
  }

  /** Durable when it resolves. @throws invalid `bad-volume-size`, `smaller-than-snapshot`, `bad-name`; notFound; denied `export-denied` */
  async createVolume(wish: NewVolume, options: CallOptions = {}): Promise<Volume> {
    return await this.#document('createVolume', { body: { clientToken: randomUUID(), ...wish }, ...options });
  }

  /** In the order of ids. */
  async *listVolumes(options: CallOptions = {}): AsyncGenerator<Volume> {
    yield* this.#pages(async (query) => {
      const { volumes, nextToken } = await this.#document<VolumeList>('listVolumes', { query, ...options });
      return { items: volumes, nextToken };
    });
  }

  /** @throws notFound `volume-not-found` */
  async showVolume(volumeId: string, options: CallOptions = {}): Promise<Volume> {
    return await this.#document('showVolume', { params: { volumeId }, ...options });
  }

  /** For good; its snapshots stay. False when it was deleted before. @throws notFound `volume-not-found` */
  async deleteVolume(volumeId: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.#document<Deleted>('deleteVolume', { params: { volumeId }, ...options })).deleted;
  }

  /** The blocks in which something is written, ascending. @throws notFound `volume-not-found`; denied `export-denied` */
  async *volumeBlocks(volumeId: string, options: CallOptions = {}): AsyncGenerator<number> {
    yield* this.#blocks('listVolumeBlocks', { params: { volumeId }, ...options });
  }

  /**
   * Writes a block: 512 KiB. Durable when it resolves.
   * @throws notFound `volume-not-found`; invalid `block-out-of-range`, `bad-parameter`; conflict `block-write-conflict`
   */
  async putBlock(volumeId: string, block: number, bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    await this.#send('putBlock', { params: { volumeId, block }, body: bytes, ...options });
  }

  /** All 512 KiB as they were written last. @throws notFound; denied `export-denied`; corrupt `block-checksum-wrong` */
  async getBlock(volumeId: string, block: number, options: CallOptions = {}): Promise<Buffer> {
    return await this.#block('getBlock', { params: { volumeId, block }, ...options });
  }

  /** Of what was written until now; completed when it resolves. @throws notFound `volume-not-found`; conflict `snapshot-failed` */
  async createSnapshot(volumeId: string, wish: NewSnapshot = {}, options: CallOptions = {}): Promise<Snapshot> {
    const body = { clientToken: randomUUID(), ...wish };
    let snapshot = await this.#document<Snapshot>('createSnapshot', { params: { volumeId }, body, ...options });
    while (snapshot.state === 'pending') {
      await this.#clock.sleep(POLL_MS, options.signal);
      snapshot = await this.showSnapshot(snapshot.snapshotId, options);
    }
    if (snapshot.state === 'completed') return snapshot;
    const { snapshotId, reason } = snapshot;
    throw new SgwError('conflict', 'snapshot-failed', `snapshot ${snapshotId} was not made: ${reason ?? ''}`, {
      details: { snapshotId },
    });
  }

  /** The account's own, those of gateways too, in the order of ids. */
  async *listSnapshots(of: { readonly volumeId?: string } = {}, options: CallOptions = {}): AsyncGenerator<Snapshot> {
    yield* this.#pages(async (query) => {
      const sent = { query: { ...of, ...query }, ...options };
      const { snapshots, nextToken } = await this.#document<SnapshotList>('listSnapshots', sent);
      return { items: snapshots, nextToken };
    });
  }

  /** @throws notFound `snapshot-not-found` */
  async showSnapshot(snapshotId: string, options: CallOptions = {}): Promise<Snapshot> {
    return await this.#document('showSnapshot', { params: { snapshotId }, ...options });
  }

  /** False when it was deleted before. @throws notFound `snapshot-not-found`; conflict `snapshot-not-completed` */
  async deleteSnapshot(snapshotId: string, options: CallOptions = {}): Promise<boolean> {
    return (await this.#document<Deleted>('deleteSnapshot', { params: { snapshotId }, ...options })).deleted;
  }

  /** The blocks in which something is written, ascending. @throws notFound `snapshot-not-found`; denied `export-denied` */
  async *snapshotBlocks(snapshotId: string, options: CallOptions = {}): AsyncGenerator<number> {
    yield* this.#blocks('listSnapshotBlocks', { params: { snapshotId }, ...options });
  }

  /** The blocks that differ from those of an earlier snapshot, ascending. @throws as `snapshotBlocks`; invalid `unrelated-snapshots` */
  async *changedBlocks(snapshotId: string, since: string, options: CallOptions = {}): AsyncGenerator<number> {
    yield* this.#blocks('listChangedBlocks', { params: { snapshotId }, query: { since }, ...options });
  }

  /** All 512 KiB. @throws notFound `snapshot-not-found`; denied `export-denied`; corrupt `block-checksum-wrong` */
  async getSnapshotBlock(snapshotId: string, block: number, options: CallOptions = {}): Promise<Buffer> {
    return await this.#block('getSnapshotBlock', { params: { snapshotId, block }, ...options });
  }

  async close(): Promise<void> {
    await this.#channel.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async *#blocks(name: BlockApiName, sent: Sent): AsyncGenerator<number> {
    yield* this.#pages(async (query) => {
      const page = await this.#document<BlockList>(name, { ...sent, query: { ...sent.query, ...query } });
      return { items: page.blocks, nextToken: page.nextToken };
    });
  }

  async *#pages<T>(
    read: (
      query: Record<string, string>,
    ) => Promise<{ readonly items: readonly T[]; readonly nextToken: string | null }>,
  ): AsyncGenerator<T> {
    for (let query: Record<string, string> = {}; ;) {
      const { items, nextToken } = await read(query);
      yield* items;
      if (nextToken === null) return;
      query = { nextToken };
    }
  }

  async #document<T>(name: BlockApiName, sent: Sent): Promise<T> {
    return resultOf(await this.#send(name, sent), this.#options.url) as T;
  }

  async #block(name: BlockApiName, sent: Sent): Promise<Buffer> {
    const { body, headers } = await this.#send(name, sent);
    const digest = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
    if (body.length === BLOCK_API_BYTES && headers['content-digest'] === digest) return body;
    throw new SgwError('corrupt', 'block-checksum-wrong', 'the block that came does not match its checksum', {
      hint: 'Something between the service and here changes what is sent.',
    });
  }

  /** Again, while that may help. */
  async #send(name: BlockApiName, sent: Sent): Promise<ChannelAnswer> {
    const { triesMax = TRIES_MAX } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        return await this.#sendOnce(name, sent);
      } catch (error) {
        const isPassing = error instanceof SgwError && (error.kind === 'unavailable' || error.kind === 'timeout');
        if (!isPassing || tries >= triesMax) throw error;
        const most = Math.min(DELAY_MAX_MS, DELAY_MS * 2 ** tries);
        await this.#clock.sleep(this.#random.float() * most, sent.signal);
      }
    }
  }

  async #sendOnce(name: BlockApiName, { params = {}, query = {}, body, signal = NEVER }: Sent): Promise<ChannelAnswer> {
    const { method, path: template } = BLOCK_API[name];
    const path = template.replaceAll(/\{(\w+)\}/g, (_, param: string) => encodeURIComponent(params[param] ?? ''));
    const isBlock = body instanceof Uint8Array;
    const bytes = body === undefined ? new Uint8Array() : isBlock ? body : Buffer.from(JSON.stringify(body));
    const sha256 = createHash('sha256').update(bytes).digest();
    const { accessKey, timeoutMs = TIMEOUT_MS } = this.#options;
    const { host } = this.#channel;
    const contentType = isBlock ? 'application/octet-stream' : 'application/json';
    const toSign = { method, host, path, query, body: bytes, contentType, bodySha256: sha256.toString('hex') };
    const signed = await signedHeaders(toSign, accessKey, new Date(this.#clock.nowMs()));
    const headers = { ...signed, ...(isBlock ? { 'content-digest': `sha-256=:${sha256.toString('base64')}:` } : {}) };
    const search = Object.entries(query).map(
      ([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`,
    );
    const answer = await this.#channel.exchange({
      ...{ method, path: search.length === 0 ? path : `${path}?${search.join('&')}`, headers, signal, timeoutMs },
      ...(body === undefined ? {} : { body: bytes }),
    });
    if (answer.status < 200 || answer.status >= 300) {
      resultOf(answer, this.#options.url);
      throw badAnswer(this.#options.url, answer.status);
    }
    return answer;
  }
}
