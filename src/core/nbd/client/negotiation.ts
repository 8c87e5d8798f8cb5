/**
 * The client's side of the fixed newstyle negotiation, without sockets: what it takes and sends goes through a channel.
 * @see https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 */
import { SgwError, type ErrorKind } from '../../kit/index.ts';
import type { Writer } from '../exports.ts';
import { CLIENT_CONTEXT, WRITER_CONTEXT, writerOf } from '../own-contexts.ts';
import {
  CLIENT_FLAG_FIXED_NEWSTYLE,
  CLIENT_FLAG_NO_ZEROES,
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  IHAVEOPT,
  INFO,
  NBDMAGIC,
  OPT,
  OPTION_HEADER_BYTES,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  REP,
  TRANSMISSION,
} from '../wire.ts';

/** The way to the server until the export was chosen. */
export interface Channel {
  /** The next bytes. @throws when the connection ends before */
  take(count: number): Promise<Buffer>;
  send(bytes: Buffer): void;
  /** Makes the connection a TLS one. Nothing may have come that was not taken. */
  secure(): Promise<void>;
}

export interface Wishes {
  readonly exportName: string;
  readonly isTls: boolean;
  /**
   * Whose connection this is: an sgw server ends an earlier one of the same client, and what is under way there, before it answers
   * this. 32 hex digits.
   */
  readonly clientId?: string;
  /** Asked before the export is opened: throws when it is not to be. `writer`: what an sgw server tells of that. */
  readonly consider?: (writer: Writer | undefined) => void;
}

/** An export, as its server describes it. */
export interface ExportInfo {
  readonly sizeBytes: number;
  /** Transmission flags. */
  readonly flags: number;
  readonly isStructured: boolean;
  /** The id of `base:allocation`; undefined when the server does not tell about that. */
  readonly statusContext: number | undefined;
  /** Undefined when the server does not tell. */
  readonly writer: Writer | undefined;
  /** An earlier connection of this client has ended, and nothing that it asked for happens any more. */
  readonly isClaimed: boolean;
  readonly blockBytesMin: number;
  readonly blockBytesPreferred: number;
  readonly payloadBytesMax: number;
}

const BASE_ALLOCATION = 'base:allocation';
/** Of one reply, and of the replies to one option. */
const REPLY_BYTES_MAX = 64 * 1024;
const REPLIES_MAX = 1024;
/** What servers must take where they do not say. */
const PAYLOAD_BYTES = 32 << 20;

interface Reply {
  readonly type: number;
  readonly data: Buffer;
}

/**
 * Negotiates until the export is open.
 * @throws notFound `nbd-export`; denied `nbd-refused`; unavailable `nbd-refused`, `nbd-negotiation`; what `consider` throws
 */
export async function negotiate(channel: Channel, wishes: Wishes): Promise<ExportInfo> {
  const talk = new Negotiation(channel, wishes.exportName);
  await talk.greet();
  if (wishes.isTls) await talk.startTls();
  const isStructured = await talk.asksFor(OPT.structuredReply);
  const writer = isStructured ? await talk.writer() : undefined;
  wishes.consider?.(writer);
  const contexts = isStructured ? await talk.contexts(wishes.clientId) : NO_CONTEXTS;
  return { ...(await talk.open()), ...contexts, isStructured, writer };
}

type Contexts = Pick<ExportInfo, 'statusContext' | 'isClaimed'>;
const NO_CONTEXTS: Contexts = { statusContext: undefined, isClaimed: false };

class Negotiation {
  readonly #channel: Channel;
  readonly #name: Buffer;

  constructor(channel: Channel, exportName: string) {
    this.#channel = channel;
    this.#name = withLength(exportName);
  }

  async greet(): Promise<void> {
    const greeting = await this.#channel.take(18);
    if (greeting.readBigUInt64BE(0) !== NBDMAGIC) throw broken('it is no NBD server');
    const flags = greeting.readUInt16BE(16);
    if (greeting.readBigUInt64BE(8) !== IHAVEOPT || (flags & FLAG_FIXED_NEWSTYLE) === 0)
      throw broken('it speaks an old form of the protocol');
    const own = CLIENT_FLAG_FIXED_NEWSTYLE | ((flags & FLAG_NO_ZEROES) === 0 ? 0 : CLIENT_FLAG_NO_ZEROES);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(own);
    this.#channel.send(bytes);
  }

  async startTls(): Promise<void> {
    const refused = await this.#option(OPT.startTls, Buffer.alloc(0));
    if (refused !== undefined) throw refusal(refused, 'TLS');
    await this.#channel.secure();
  }

  /** Whether the server does it. */
  async asksFor(option: number): Promise<boolean> {
    return (await this.#option(option, Buffer.alloc(0))) === undefined;
  }

  /** What an sgw server tells of the volume's writer. */
  async writer(): Promise<Writer | undefined> {
    let writer: Writer | undefined;
    const query = Buffer.concat([this.#name, u32(1), withLength(WRITER_CONTEXT)]);
    await this.#option(OPT.listMetaContext, query, ({ type, data }) => {
      if (type === REP.metaContext && data.length > 4) writer ??= writerOf(data.toString('utf8', 4));
    });
    return writer;
  }

  async contexts(clientId: string | undefined): Promise<Contexts> {
    const own = clientId === undefined ? undefined : `${CLIENT_CONTEXT}${clientId}`;
    const names = [BASE_ALLOCATION, ...(own === undefined ? [] : [own])];
    const query = Buffer.concat([this.#name, u32(names.length), ...names.map(withLength)]);
    let statusContext: number | undefined;
    let isClaimed = false;
    const refused = await this.#option(OPT.setMetaContext, query, ({ type, data }) => {
      if (type !== REP.metaContext || data.length <= 4) return;
      const name = data.toString('utf8', 4);
      if (name === BASE_ALLOCATION) statusContext = data.readUInt32BE(0);
      else if (name === own) isClaimed = true;
    });
    return refused === undefined ? { statusContext, isClaimed } : NO_CONTEXTS;
  }

  async open(): Promise<Omit<ExportInfo, keyof Contexts | 'isStructured' | 'writer'>> {
    let size: { sizeBytes: number; flags: number } | undefined;
    let blocks = { blockBytesMin: 1, blockBytesPreferred: 4096, payloadBytesMax: PAYLOAD_BYTES };
    const asked = Buffer.concat([this.#name, Buffer.from([0, 1, 0, INFO.blockSize])]);
    const refused = await this.#option(OPT.go, asked, ({ type, data }) => {
      if (type !== REP.info || data.length < 2) return;
      const kind = data.readUInt16BE(0);
      if (kind === INFO.export && data.length === 12)
        size = { sizeBytes: safeSize(data.readBigUInt64BE(2)), flags: data.readUInt16BE(10) };
      if (kind === INFO.blockSize && data.length === 14) blocks = readBlockSizes(data);
    });
    if (refused !== undefined) throw refusal(refused, 'the export');
    if (size === undefined) throw broken('it did not tell the size of the export');
    if ((size.flags & TRANSMISSION.hasFlags) === 0) throw broken('it did not tell what the export can do');
    return { ...size, ...blocks };
  }

  /** Sends an option, and takes the replies up to the last one. Returns that when it refuses. */
  async #option(option: number, data: Buffer, onReply?: (reply: Reply) => void): Promise<Reply | undefined> {
    const header = Buffer.alloc(OPTION_HEADER_BYTES);
    header.writeBigUInt64BE(IHAVEOPT, 0);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(data.length, 12);
    this.#channel.send(Buffer.concat([header, data]));
    for (let i = 0; i < REPLIES_MAX; i++) {
      const reply = await this.#reply(option);
      if (reply.type === REP.ack) return undefined;
      if (reply.type >= 0x8000_0000) return reply;
      onReply?.(reply);
    }
    throw broken('it has no end of replies to one option');
  }

  async #reply(option: number): Promise<Reply> {
    const header = await this.#channel.take(OPTION_REPLY_HEADER_BYTES);
    if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) throw broken('a reply to an option does not begin as one');
    if (header.readUInt32BE(8) !== option) throw broken('a reply to an option that was not sent');
    const type = header.readUInt32BE(12);
    const length = header.readUInt32BE(16);
    if (length > REPLY_BYTES_MAX) throw broken(`a reply to an option with ${String(length)} bytes`);
    return { type, data: length === 0 ? Buffer.alloc(0) : Buffer.from(await this.#channel.take(length)) };
  }
}

function readBlockSizes(data: Buffer): Pick<ExportInfo, 'blockBytesMin' | 'blockBytesPreferred' | 'payloadBytesMax'> {
  const [min, preferred, max] = [data.readUInt32BE(2), data.readUInt32BE(6), data.readUInt32BE(10)];
  if (!isPowerOfTwo(min) || !isPowerOfTwo(preferred) || preferred < min || max < min)
    throw broken('it told block sizes that can not be');
  return { blockBytesMin: min, blockBytesPreferred: preferred, payloadBytesMax: Math.min(max, PAYLOAD_BYTES) };
}

const isPowerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));

function safeSize(size: bigint): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw broken('the export is larger than can be');
  return Number(size);
}

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([u32(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

const REFUSALS: Readonly<Record<number, { readonly kind: ErrorKind; readonly says: string }>> = {
  [REP.errUnknown]: { kind: 'notFound', says: 'is not there' },
  [REP.errPolicy]: { kind: 'denied', says: 'is refused by the policy of the server' },
  [REP.errTlsRequired]: { kind: 'denied', says: 'is only given over TLS' },
  [REP.errShutdown]: { kind: 'unavailable', says: 'is not given while the server ends' },
  [REP.errUnsupported]: { kind: 'unsupported', says: 'is not known to the server' },
};

function refusal({ type, data }: Reply, what: string): SgwError {
  const { kind, says } = REFUSALS[type] ?? { kind: 'unavailable' as const, says: 'can not be used now' };
  const words = data.toString('utf8', 0, 500).trim();
  return new SgwError(kind, 'nbd-refused', `${what} ${says}${words === '' ? '' : `: ${words}`}`);
}

const broken = (what: string): SgwError =>
  new SgwError('unavailable', 'nbd-negotiation', `the NBD server can not be used: ${what}`);
