/**
 * The handshake of one connection: fixed newstyle negotiation, option by option, without sockets. Bytes go in through the queue,
 * replies come out through `send`.
 *
 * States: flags -> options -> transmission | closed; STARTTLS suspends it until the socket is a TLS one, and begins the options
 * anew. Invariants: nothing of what was negotiated before TLS counts after it; every option gets its reply before the next one
 * is looked at; options and their data are bounded.
 */
import { SgwError, toSgwError } from '../kit/index.ts';
import type { ByteQueue } from '../sockets/index.ts';
import { optionError } from './errors.ts';
import type { ExportDirectory, OpenedExport } from './exports.ts';
import type { ServerLimits } from './limits.ts';
import { CLIENT_CONTEXT, clientOf, WRITER_CONTEXT, writerContext } from './own-contexts.ts';
import { readGoData, readMetaQuery, type MetaQuery } from './options.ts';
import type { ChosenContext } from './transmission.ts';
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
} from './wire.ts';

export type TlsMode = 'off' | 'on' | 'require';

export interface HandshakeParts {
  readonly queue: ByteQueue;
  readonly directory: ExportDirectory;
  readonly limits: ServerLimits;
  readonly tls: TlsMode;
  readonly connectionId: number;
  readonly signal: AbortSignal;
  /** Ends an earlier connection of this client; resolves when nothing that was asked for there can happen any more. */
  readonly claim: (clientId: string) => Promise<void>;
  readonly send: (bytes: Buffer) => void;
  /** Replies that the client has not taken yet. */
  readonly backlogBytes: () => number;
}

/** How the handshake goes on after the bytes that there were. */
export type HandshakeStep =
  | { readonly kind: 'more' }
  | { readonly kind: 'startTls' }
  | { readonly kind: 'closed'; readonly reason: string | undefined }
  | {
      readonly kind: 'transmission';
      readonly opened: OpenedExport;
      readonly isStructured: boolean;
      readonly contexts: readonly ChosenContext[];
    };

const MORE: HandshakeStep = { kind: 'more' };
const BASE_ALLOCATION = 'base:allocation';

/** What the server says first. */
export function greeting(): Buffer {
  const bytes = Buffer.alloc(18);
  bytes.writeBigUInt64BE(NBDMAGIC, 0);
  bytes.writeBigUInt64BE(IHAVEOPT, 8);
  bytes.writeUInt16BE(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES, 16);
  return bytes;
}

export class Handshake {
  readonly #parts: HandshakeParts;
  #flags: number | undefined;
  #options = 0;
  #isTls = false;
  #user: string | undefined;
  #isStructured = false;
  /** Contexts chosen for the export of this name. */
  #chosen: { readonly exportName: string; readonly contexts: ChosenContext[] } | undefined;

  constructor(parts: HandshakeParts) {
    this.#parts = parts;
  }

  /** The socket is a TLS one now, of a client that is known as `user`. */
  secured(user: string | undefined): void {
    this.#isTls = true;
    this.#user = user;
    this.#isStructured = false;
    this.#chosen = undefined;
  }

  /** Handles what is in the queue, until it needs more bytes or the handshake ends. Not to be called before it has resolved. */
  async advance(): Promise<HandshakeStep> {
    const { queue, limits } = this.#parts;
    if (this.#flags === undefined) {
      if (queue.length < 4) return MORE;
      this.#flags = queue.take(4).readUInt32BE(0);
      const known = CLIENT_FLAG_FIXED_NEWSTYLE | CLIENT_FLAG_NO_ZEROES;
      if ((this.#flags & ~known) !== 0) return closed('unknown client flags');
    }
    for (;;) {
      const header = queue.peek(OPTION_HEADER_BYTES);
      if (header === undefined) return MORE;
      if (header.readBigUInt64BE(0) !== IHAVEOPT) return closed('an option does not begin as one');
      const option = header.readUInt32BE(8);
      const length = header.readUInt32BE(12);
      if (length > limits.optionBytesMax) return closed(`an option of ${String(length)} bytes`);
      if (queue.length < OPTION_HEADER_BYTES + length) return MORE;
      queue.take(OPTION_HEADER_BYTES);
      this.#options += 1;
      if (this.#options > limits.optionsMax) return closed('too many options');
      if (this.#parts.backlogBytes() > limits.backlogBytesMax) return closed('replies to options are not read');
      const step = await this.#option(option, Buffer.from(queue.take(length)));
      if (step !== undefined) return step;
    }
  }

  /** Undefined: on to the next one. */
  async #option(option: number, data: Buffer): Promise<HandshakeStep | undefined> {
    const { tls } = this.#parts;
    if (tls === 'require' && !this.#isTls && option !== OPT.startTls && option !== OPT.abort) {
      if (option === OPT.exportName) return closed('TLS is required');
      return this.#reply(option, REP.errTlsRequired, text('this server requires TLS'));
    }
    switch (option) {
      case OPT.exportName:
        return await this.#exportName(data.toString('utf8'));
      case OPT.abort:
        this.#reply(option, REP.ack);
        return closed(undefined);
      case OPT.list:
        return await this.#list(data);
      case OPT.startTls:
        return this.#startTls(data);
      case OPT.info:
      case OPT.go:
        return await this.#go(option, data);
      case OPT.structuredReply:
        if (data.length > 0) return this.#reply(option, REP.errInvalid);
        this.#isStructured = true;
        return this.#reply(option, REP.ack);
      case OPT.listMetaContext:
      case OPT.setMetaContext:
        return await this.#metaContext(option, data);
      default:
        return this.#reply(option, REP.errUnsupported);
    }
  }

  /** Sends a reply; undefined, which is also how the option goes on. */
  #reply(option: number, type: number, data: Buffer = Buffer.alloc(0)): HandshakeStep | undefined {
    const header = Buffer.alloc(OPTION_REPLY_HEADER_BYTES);
    header.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
    header.writeUInt32BE(option, 8);
    header.writeUInt32BE(type, 12);
    header.writeUInt32BE(data.length, 16);
    this.#parts.send(Buffer.concat([header, data]));
    return undefined;
  }

  #startTls(data: Buffer): HandshakeStep | undefined {
    if (data.length > 0) return this.#reply(OPT.startTls, REP.errInvalid);
    if (this.#isTls) return this.#reply(OPT.startTls, REP.errInvalid, text('TLS is on already'));
    if (this.#parts.tls === 'off') return this.#reply(OPT.startTls, REP.errPolicy, text('this server has no TLS'));
    this.#reply(OPT.startTls, REP.ack);
    // Bytes that came before the TLS handshake could be anybody's.
    if (this.#parts.queue.length > 0) return closed('bytes follow STARTTLS in the clear');
    return { kind: 'startTls' };
  }

  async #list(data: Buffer): Promise<HandshakeStep | undefined> {
    const { directory } = this.#parts;
    if (data.length > 0) return this.#reply(OPT.list, REP.errInvalid);
    if (!directory.isListed) return this.#reply(OPT.list, REP.errPolicy, text('exports are not listed here'));
    try {
      for (const { name, description } of await directory.list()) {
        const bytes = Buffer.from(name, 'utf8');
        const length = Buffer.alloc(4);
        length.writeUInt32BE(bytes.length);
        this.#reply(OPT.list, REP.server, Buffer.concat([length, bytes, text(description)]));
      }
    } catch (error) {
      return this.#reply(OPT.list, REP.errPlatform, text(toSgwError(error).message));
    }
    return this.#reply(OPT.list, REP.ack);
  }

  async #open(name: string): Promise<OpenedExport | SgwError> {
    const { directory, connectionId, signal } = this.#parts;
    try {
      return await directory.open(name, { connectionId, user: this.#user, signal });
    } catch (error) {
      return toSgwError(error);
    }
  }

  async #findContexts(opened: OpenedExport, queries: readonly string[]): Promise<SgwError | undefined> {
    try {
      await opened.findContexts?.(queries, this.#parts.signal);
      return undefined;
    } catch (error) {
      return toSgwError(error);
    }
  }

  async #exportName(name: string): Promise<HandshakeStep> {
    const opened = await this.#open(name);
    if (opened instanceof SgwError) return closed(opened.message);
    const noZeroes = ((this.#flags ?? 0) & CLIENT_FLAG_NO_ZEROES) !== 0;
    const bytes = Buffer.alloc(noZeroes ? 10 : 134);
    exportInfo(opened, this.#isStructured).copy(bytes);
    this.#parts.send(bytes);
    return { kind: 'transmission', opened, isStructured: this.#isStructured, contexts: this.#contextsFor(name) };
  }

  async #go(option: number, data: Buffer): Promise<HandshakeStep | undefined> {
    const asked = readGoData(data);
    if (asked === undefined) return this.#reply(option, REP.errInvalid);
    const opened = await this.#open(asked.name);
    if (opened instanceof SgwError) return this.#reply(option, optionError(opened), text(opened.message));
    this.#describe(option, opened, asked.infos);
    this.#reply(option, REP.ack);
    if (option === OPT.go)
      return {
        kind: 'transmission',
        opened,
        isStructured: this.#isStructured,
        contexts: this.#contextsFor(asked.name),
      };
    await opened.release();
    return undefined;
  }

  #describe(option: number, opened: OpenedExport, infos: readonly number[]): void {
    const info = (kind: number, data: Buffer): void => {
      const header = Buffer.alloc(2);
      header.writeUInt16BE(kind);
      this.#reply(option, REP.info, Buffer.concat([header, data]));
    };
    info(INFO.export, exportInfo(opened, this.#isStructured));
    if (infos.includes(INFO.name)) info(INFO.name, text(opened.name));
    if (infos.includes(INFO.description)) info(INFO.description, text(opened.description));
    const { blockBytesMin, blockBytesPreferred, payloadBytesMax } = opened.device.limits;
    const sizes = Buffer.alloc(12);
    sizes.writeUInt32BE(blockBytesMin, 0);
    sizes.writeUInt32BE(blockBytesPreferred, 4);
    sizes.writeUInt32BE(payloadBytesMax, 8);
    info(INFO.blockSize, sizes);
  }

  #contextsFor(name: string): readonly ChosenContext[] {
    return this.#chosen?.exportName === name ? this.#chosen.contexts : [];
  }

  async #metaContext(option: number, data: Buffer): Promise<HandshakeStep | undefined> {
    const asked = readMetaQuery(data);
    if (option === OPT.setMetaContext) this.#chosen = undefined;
    if (asked === undefined || !this.#isStructured) return this.#reply(option, REP.errInvalid);
    const opened = await this.#open(asked.exportName);
    if (opened instanceof SgwError) return this.#reply(option, optionError(opened), text(opened.message));
    const failure = await this.#findContexts(opened, asked.queries);
    if (failure !== undefined) {
      await opened.release();
      return this.#reply(option, optionError(failure), text(failure.message));
    }
    const available = [BASE_ALLOCATION, ...opened.contexts.map(({ name }) => name)];
    await opened.release();
    const names =
      option === OPT.listMetaContext
        ? listed(available, asked)
        : available.filter((name) => asked.queries.includes(name));
    const contexts = names.map((name, i) => ({ id: i + 1, name }));
    for (const { id, name } of contexts) {
      const header = Buffer.alloc(4);
      header.writeUInt32BE(option === OPT.setMetaContext ? id : 0);
      this.#reply(option, REP.metaContext, Buffer.concat([header, text(name)]));
    }
    if (option === OPT.setMetaContext) this.#chosen = { exportName: asked.exportName, contexts };
    await this.#ownContexts(option, asked, opened);
    return this.#reply(option, REP.ack);
  }

  /** sgw's own contexts, which have no status. */
  async #ownContexts(option: number, { queries }: MetaQuery, { writer }: OpenedExport): Promise<void> {
    const tell = (name: string): void => {
      this.#reply(option, REP.metaContext, Buffer.concat([Buffer.alloc(4), text(name)]));
    };
    if (writer !== undefined && queries.includes(WRITER_CONTEXT)) tell(writerContext(writer));
    const clientId = option === OPT.setMetaContext ? clientOf(queries) : undefined;
    if (clientId === undefined) return;
    await this.#parts.claim(clientId);
    tell(`${CLIENT_CONTEXT}${clientId}`);
  }
}

/** What LIST_META_CONTEXT answers: all, or those that a query names, in full or by their namespace (`base:`). */
function listed(available: readonly string[], { queries }: MetaQuery): string[] {
  if (queries.length === 0) return [...available];
  return available.filter((name) =>
    queries.some((query) => query === name || (query.endsWith(':') && name.startsWith(query))),
  );
}

/** Size (64 bits) and transmission flags (16). */
function exportInfo({ device, isReadOnly, isMultiConn }: OpenedExport, isStructured: boolean): Buffer {
  const bytes = Buffer.alloc(10);
  bytes.writeBigUInt64BE(BigInt(device.sizeBytes), 0);
  const canWrite = !isReadOnly && !device.isReadOnly;
  const writing =
    TRANSMISSION.sendFlush |
    TRANSMISSION.sendFua |
    TRANSMISSION.sendTrim |
    TRANSMISSION.sendWriteZeroes |
    TRANSMISSION.sendFastZero;
  bytes.writeUInt16BE(
    TRANSMISSION.hasFlags |
      TRANSMISSION.sendCache |
      (canWrite ? writing : TRANSMISSION.readOnly | TRANSMISSION.sendFlush) |
      (isStructured ? TRANSMISSION.sendDf : 0) |
      (isMultiConn ? TRANSMISSION.canMultiConn : 0),
    8,
  );
  return bytes;
}

const closed = (reason: string | undefined): HandshakeStep => ({ kind: 'closed', reason });
const text = (words: string): Buffer => Buffer.from(words, 'utf8').subarray(0, 4096);
