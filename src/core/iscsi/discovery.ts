/**
 * Text requests of the full feature phase (RFC 7143, 11.10, 11.11, Appendix C), without a socket: SendTargets, and the few keys that
 * may be declared again.
 * Exports: `TextExchange` (one for each connection: `new TextExchange(parts)`, `await exchange.handle(header, data)`),
 * `TextExchangeParts`, `TextStep`, `Portal`.
 *
 * One text is under way at a time; a request without a target transfer tag begins a new one, and the old one is forgotten.
 */
import { isOperationalKey, parseSegmentBytes } from './negotiation.ts';
import { isSecurityKey } from './authentication.ts';
import type { TargetDirectory } from './targets.ts';
import { ANSWER, encodePairs, isAnswer, splitText, TEXT_LIMITS, TextAssembler, TextError, type Pair } from './text.ts';
import { AT, FINAL, LOGIN_FLAG, NO_TAG, plus, REJECT } from './wire.ts';

/** Where a target can be reached. */
export interface Portal {
  /** `HOST:PORT`, with IPv6 addresses in brackets. */
  readonly address: string;
  readonly groupTag: number;
}

export interface TextExchangeParts {
  readonly directory: TargetDirectory;
  readonly initiator: string;
  /** Of a normal session: it may ask for this one only. */
  readonly target: string | undefined;
  readonly portals: () => readonly Portal[];
  /** Bytes of a data segment that the initiator takes. */
  readonly maxSendLength: () => number;
}

export type TextStep =
  | {
      readonly kind: 'response';
      /** The second byte of the text response: F and C. */
      readonly flags: number;
      readonly targetTransferTag: number;
      readonly data: Buffer;
      /** What the initiator takes from now on, where it declared that. */
      readonly maxSendLength: number | undefined;
    }
  /** A Reject PDU with this reason (11.17.1); the text is forgotten. `message` is for the log. */
  | { readonly kind: 'reject'; readonly reason: number; readonly message: string };

/** What SendTargets may answer, so that no initiator has the gateway hold more. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024;
const NOTHING = Buffer.alloc(0);
/** Declared in a login, and no more. */
const LOGIN_KEYS: ReadonlySet<string> = new Set(['InitiatorName', 'TargetName', 'SessionType']);

interface Exchange {
  readonly initiatorTaskTag: number;
  readonly text: TextAssembler;
  readonly seen: Set<string>;
  /** 0: none was given yet. */
  targetTransferTag: number;
  pieces: Buffer[];
}

export class TextExchange {
  readonly #parts: TextExchangeParts;
  #current: Exchange | undefined;
  #tag = 0;

  constructor(parts: TextExchangeParts) {
    this.#parts = parts;
  }

  /**
   * Handles one text request, of which `header` has the basic header segment at least. Not to be called before it has resolved.
   * Keeps nothing of the buffers.
   * @throws what the directory throws
   */
  async handle(header: Buffer, data: Buffer): Promise<TextStep> {
    const flags = header.readUInt8(AT.flags);
    const isFinal = (flags & FINAL) !== 0;
    const isContinued = (flags & LOGIN_FLAG.continue) !== 0;
    if (isFinal && isContinued) return this.#reject(REJECT.protocolError, 'a text that is continued is not final');
    const exchange = this.#exchange(header);
    if (exchange === undefined) return this.#reject(REJECT.invalidField, 'a text request with an unknown tag');
    try {
      return await this.#advance(exchange, data, { isFinal, isContinued });
    } catch (error) {
      if (error instanceof TextError) return this.#reject(REJECT.protocolError, error.message);
      this.#current = undefined;
      throw error;
    }
  }

  #reject(reason: number, message: string): TextStep {
    this.#current = undefined;
    return { kind: 'reject', reason, message };
  }

  /** The one that goes on with this request. */
  #exchange(header: Buffer): Exchange | undefined {
    const initiatorTaskTag = header.readUInt32BE(AT.initiatorTaskTag);
    const targetTransferTag = header.readUInt32BE(AT.targetTransferTag);
    if (targetTransferTag === NO_TAG) {
      this.#current = {
        initiatorTaskTag,
        text: new TextAssembler(),
        seen: new Set(),
        targetTransferTag: 0,
        pieces: [],
      };
      return this.#current;
    }
    const current = this.#current;
    if (current?.initiatorTaskTag !== initiatorTaskTag || current.targetTransferTag !== targetTransferTag)
      return undefined;
    return current;
  }

  async #advance(
    exchange: Exchange,
    data: Buffer,
    { isFinal, isContinued }: { isFinal: boolean; isContinued: boolean },
  ): Promise<TextStep> {
    if (exchange.pieces.length > 0) {
      if (data.length > 0) throw new TextError('an answer that is continued is answered');
      return this.#next(exchange, isFinal);
    }
    const pairs = exchange.text.add(data, isContinued);
    if (pairs === undefined) return this.#respond(exchange, { data: NOTHING, flags: 0 });
    const declared = pairs.find(({ key, value }) => key === 'MaxRecvDataSegmentLength' && !isAnswer(value));
    const maxSendLength = declared === undefined ? undefined : parseSegmentBytes(declared.value);
    const text = encodePairs(await this.#answer(exchange, pairs));
    if (text.length > ANSWER_BYTES_MAX) return this.#reject(REJECT.longOperation, 'too many targets to tell of');
    exchange.pieces = splitText(text, this.#parts.maxSendLength());
    return this.#next(exchange, isFinal, maxSendLength);
  }

  /** The last piece is final when the initiator has nothing more to say. */
  #next(exchange: Exchange, isFinal: boolean, maxSendLength?: number): TextStep {
    const data = exchange.pieces.shift() ?? NOTHING;
    const flags = exchange.pieces.length > 0 ? LOGIN_FLAG.continue : isFinal ? FINAL : 0;
    return this.#respond(exchange, { data, flags, maxSendLength });
  }

  #respond(
    exchange: Exchange,
    { data, flags, maxSendLength }: { data: Buffer; flags: number; maxSendLength?: number | undefined },
  ): TextStep {
    if (flags === FINAL) {
      this.#current = undefined;
      return { kind: 'response', flags, targetTransferTag: NO_TAG, data, maxSendLength };
    }
    this.#tag = this.#tag >= NO_TAG - 1 ? 1 : plus(this.#tag, 1);
    exchange.targetTransferTag = this.#tag;
    return { kind: 'response', flags, targetTransferTag: this.#tag, data, maxSendLength };
  }

  /** @throws TextError; what the directory throws */
  async #answer(exchange: Exchange, pairs: readonly Pair[]): Promise<readonly Pair[]> {
    const answers: (readonly Pair[])[] = [];
    for (const { key, value } of pairs) {
      if (isAnswer(value)) continue;
      if (exchange.seen.has(key)) throw new TextError(`${key} comes twice`);
      exchange.seen.add(key);
      if (exchange.seen.size > TEXT_LIMITS.keysMax) throw new TextError(`more than ${TEXT_LIMITS.keysMax} keys`);
      answers.push(key === 'SendTargets' ? await this.#sendTargets(value) : answerKey(key));
    }
    return answers.flat();
  }

  /** Appendix C: All and names of others are for discovery sessions; nothing, the target of the session, for normal ones. */
  async #sendTargets(value: string): Promise<readonly Pair[]> {
    const { directory, initiator, target } = this.#parts;
    const asked = value.toLowerCase();
    if (target !== undefined)
      return asked === '' || asked === target ? this.#describe(target) : [{ key: 'SendTargets', value: ANSWER.reject }];
    if (asked === '') return [{ key: 'SendTargets', value: ANSWER.reject }];
    const entries = await directory.list(initiator);
    return entries.filter(({ name }) => value === 'All' || name === asked).flatMap(({ name }) => this.#describe(name));
  }

  #describe(name: string): Pair[] {
    const addresses = this.#parts.portals().map(({ address, groupTag }) => `${address},${groupTag}`);
    return [{ key: 'TargetName', value: name }, ...addresses.map((value) => ({ key: 'TargetAddress', value }))];
  }
}

/** What is declared gets no answer; what belongs to a login can't be negotiated anew. */
function answerKey(key: string): Pair[] {
  if (key === 'MaxRecvDataSegmentLength' || key === 'InitiatorAlias') return [];
  const isOfLogin = isOperationalKey(key) || isSecurityKey(key) || LOGIN_KEYS.has(key);
  return [{ key, value: isOfLogin ? ANSWER.reject : ANSWER.notUnderstood }];
}
