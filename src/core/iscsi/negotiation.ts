/**
 * What two sides agree on by key=value pairs (RFC 7143, 6.2 and 13): a table of operational keys, and the agreement of one login.
 * Exports: `SessionParameters`, `ConnectionParameters`, `Wishes`, `DEFAULT_WISHES`, `SESSION_DEFAULTS`, `SEGMENT_BYTES_DEFAULT`,
 * `Negotiation`, `isOperationalKey`, `parseSegmentBytes`.
 *
 * The target offers nothing of its own: every key has a default that it can do, so only what the initiator asks is answered. It
 * declares MaxRecvDataSegmentLength.
 */
import { ANSWER, isAnswer, parseBoolean, parseList, parseNumber, TextError, type Pair } from './text.ts';

/** Session-wide: agreed on by the leading connection. Lengths in bytes, times in seconds. */
export interface SessionParameters {
  readonly maxConnections: number;
  readonly initialR2t: boolean;
  readonly immediateData: boolean;
  readonly maxBurstLength: number;
  readonly firstBurstLength: number;
  readonly maxOutstandingR2t: number;
  readonly defaultTime2Wait: number;
  readonly defaultTime2Retain: number;
  readonly dataPduInOrder: boolean;
  readonly dataSequenceInOrder: boolean;
  readonly errorRecoveryLevel: number;
}

export interface ConnectionParameters {
  readonly headerDigest: boolean;
  readonly dataDigest: boolean;
  /** Data segments that the initiator takes. */
  readonly maxSendLength: number;
  /** Data segments that we take: what was declared. */
  readonly maxReceiveLength: number;
}

/** What the target asks for, within what the initiator offers. */
export interface Wishes {
  readonly maxConnections: number;
  readonly maxReceiveLength: number;
  readonly maxBurstLength: number;
  readonly firstBurstLength: number;
  readonly maxOutstandingR2t: number;
}

export const DEFAULT_WISHES: Wishes = {
  maxConnections: 8,
  maxReceiveLength: 256 * 1024,
  maxBurstLength: 16 * 1024 * 1024 - 512,
  firstBurstLength: 256 * 1024,
  maxOutstandingR2t: 16,
};

/** 13.12: of both sides, until they declare something else. */
export const SEGMENT_BYTES_DEFAULT = 8192;
const SEGMENT_BYTES_MIN = 512;
const SEGMENT_BYTES_MAX = 2 ** 24 - 1;

/** What counts for keys that nobody offered. */
export const SESSION_DEFAULTS: SessionParameters = {
  maxConnections: 1,
  initialR2t: true,
  immediateData: true,
  maxBurstLength: 256 * 1024,
  firstBurstLength: 64 * 1024,
  maxOutstandingR2t: 1,
  defaultTime2Wait: 2,
  defaultTime2Retain: 20,
  dataPduInOrder: true,
  dataSequenceInOrder: true,
  errorRecoveryLevel: 0,
};

const CONNECTION_DEFAULTS: ConnectionParameters = {
  headerDigest: false,
  dataDigest: false,
  maxSendLength: SEGMENT_BYTES_DEFAULT,
  maxReceiveLength: SEGMENT_BYTES_DEFAULT,
};

/** The ends of what the negotiation is about. */
type Draft = SessionParameters & ConnectionParameters;

interface Agreed {
  /** Undefined: it was declared, and is not answered. */
  readonly answer?: string;
  readonly set?: Partial<Draft>;
}

interface Rule {
  /** LO keys are of the session: agreed on by its leading connection. CO keys are of each connection. */
  readonly scope: 'session' | 'connection';
  /** Irrelevant in discovery sessions. */
  readonly isNormalOnly: boolean;
  /** Undefined: the value is not admissible, or nothing of what is offered is known here. */
  readonly agree: (value: string, draft: Draft, wishes: Wishes) => Agreed | undefined;
}

type NumberField = { [F in keyof Draft]: Draft[F] extends number ? F : never }[keyof Draft];
type BooleanField = { [F in keyof Draft]: Draft[F] extends boolean ? F : never }[keyof Draft];

function numeric(
  field: NumberField,
  [min, max]: readonly [number, number],
  pick: (offered: number, wishes: Wishes, draft: Draft) => number,
): Rule['agree'] {
  return (value, draft, wishes) => {
    const offered = parseNumber(value);
    if (offered === undefined || offered < min || offered > max) return undefined;
    const picked = pick(offered, wishes, draft);
    return { answer: String(picked), set: { [field]: picked } };
  };
}

function boolean(field: BooleanField, pick: (offered: boolean) => boolean): Rule['agree'] {
  return (value) => {
    const offered = parseBoolean(value);
    if (offered === undefined) return undefined;
    const picked = pick(offered);
    return { answer: picked ? 'Yes' : 'No', set: { [field]: picked } };
  };
}

/** The first of the list that is known here. */
function digest(field: BooleanField): Rule['agree'] {
  return (value) => {
    const answer = parseList(value).find((name) => name === 'CRC32C' || name === 'None');
    return answer === undefined ? undefined : { answer, set: { [field]: answer === 'CRC32C' } };
  };
}

const constant = (answer: string): Rule['agree'] => {
  return () => ({ answer });
};

const session = (agree: Rule['agree']): Rule => ({ scope: 'session', isNormalOnly: false, agree });
const normal = (agree: Rule['agree']): Rule => ({ scope: 'session', isNormalOnly: true, agree });
const connection = (agree: Rule['agree']): Rule => ({ scope: 'connection', isNormalOnly: false, agree });

const COUNT = [1, 65535] as const;
const LENGTH = [SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX] as const;
const SECONDS = [0, 3600] as const;
/** RFC 7144, 7.1: 1 stands for RFC 7143. */
const PROTOCOL_LEVEL = 1;

const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['HeaderDigest', connection(digest('headerDigest'))],
  ['DataDigest', connection(digest('dataDigest'))],
  ['MaxRecvDataSegmentLength', connection((value) => ({ set: { maxSendLength: parseSegmentBytes(value) } }))],
  [
    'MaxConnections',
    normal(numeric('maxConnections', COUNT, (offered, wishes) => Math.min(offered, wishes.maxConnections))),
  ],
  // Ours are No and Yes: the initiator decides.
  ['InitialR2T', normal(boolean('initialR2t', (offered) => offered))],
  ['ImmediateData', normal(boolean('immediateData', (offered) => offered))],
  [
    'MaxBurstLength',
    normal(numeric('maxBurstLength', LENGTH, (offered, wishes) => Math.min(offered, wishes.maxBurstLength))),
  ],
  [
    'FirstBurstLength',
    normal(
      numeric('firstBurstLength', LENGTH, (offered, wishes, draft) =>
        Math.min(offered, wishes.firstBurstLength, draft.maxBurstLength),
      ),
    ),
  ],
  ['DefaultTime2Wait', session(numeric('defaultTime2Wait', SECONDS, (offered) => offered))],
  // Without error recovery nothing of a lost connection is kept.
  ['DefaultTime2Retain', session(numeric('defaultTime2Retain', SECONDS, () => 0))],
  [
    'MaxOutstandingR2T',
    normal(numeric('maxOutstandingR2t', COUNT, (offered, wishes) => Math.min(offered, wishes.maxOutstandingR2t))),
  ],
  ['DataPDUInOrder', normal(boolean('dataPduInOrder', () => true))],
  ['DataSequenceInOrder', normal(boolean('dataSequenceInOrder', () => true))],
  ['ErrorRecoveryLevel', session(numeric('errorRecoveryLevel', [0, 2], () => 0))],
  ['TaskReporting', normal((value) => (parseList(value).includes('RFC3720') ? { answer: 'RFC3720' } : undefined))],
  [
    'iSCSIProtocolLevel',
    normal((value) => {
      const offered = parseNumber(value);
      return offered === undefined || offered > 31 ? undefined : { answer: String(Math.min(offered, PROTOCOL_LEVEL)) };
    }),
  ],
  ['X#NodeArchitecture', session(() => ({}))],
  // 13.25: markers are no more, but initiators of RFC 3720 ask.
  ['IFMarker', connection(constant('No'))],
  ['OFMarker', connection(constant('No'))],
  ['IFMarkInt', connection(constant(ANSWER.reject))],
  ['OFMarkInt', connection(constant(ANSWER.reject))],
]);

/** Whether a key is negotiated in the operational stage of a login, and nowhere else but as 13 says. */
export const isOperationalKey = (key: string): boolean => RULES.has(key);

/** @throws TextError: a declaration can't be declined */
export function parseSegmentBytes(value: string): number {
  const bytes = parseNumber(value);
  if (bytes === undefined || bytes < SEGMENT_BYTES_MIN || bytes > SEGMENT_BYTES_MAX)
    throw new TextError('MaxRecvDataSegmentLength is not from 512 to 16777215');
  return bytes;
}

export interface NegotiationParts {
  readonly wishes: Wishes;
  readonly isDiscovery: boolean;
  /** What the session has agreed on that this connection is to be added to. */
  readonly existing: SessionParameters | undefined;
}

/** The operational keys of one login. */
export class Negotiation {
  readonly #parts: NegotiationParts;
  readonly #seen = new Set<string>();
  #draft: Draft;

  constructor(parts: NegotiationParts) {
    this.#parts = parts;
    this.#draft = { ...SESSION_DEFAULTS, ...parts.existing, ...CONNECTION_DEFAULTS };
  }

  /** What the target declares, once: with its first answer in the operational stage. */
  declare(): readonly Pair[] {
    const { maxReceiveLength } = this.#parts.wishes;
    if (this.#draft.maxReceiveLength === maxReceiveLength) return [];
    this.#draft = { ...this.#draft, maxReceiveLength };
    return [{ key: 'MaxRecvDataSegmentLength', value: String(maxReceiveLength) }];
  }

  /**
   * The answers to what an initiator offers in the operational stage, in its order.
   * @throws TextError: a key that was negotiated already, or a declaration that means nothing
   */
  answer(pairs: readonly Pair[]): readonly Pair[] {
    const answers = new Map<string, string>();
    // FirstBurstLength may not be more than MaxBurstLength, wherever that stands.
    for (const pair of pairs.toSorted((a, b) => Number(isLast(a)) - Number(isLast(b)))) {
      const answer = this.#answerOne(pair);
      if (answer !== undefined) answers.set(pair.key, answer);
    }
    return pairs.flatMap(({ key }) => {
      const value = answers.get(key);
      return value === undefined ? [] : [{ key, value }];
    });
  }

  #answerOne({ key, value }: Pair): string | undefined {
    if (isAnswer(value)) return undefined;
    const rule = RULES.get(key);
    if (rule === undefined) return ANSWER.notUnderstood;
    if (this.#seen.has(key)) throw new TextError(`${key} is negotiated twice`);
    this.#seen.add(key);
    if (rule.isNormalOnly && this.#parts.isDiscovery) return ANSWER.irrelevant;
    const agreed = rule.agree(value, this.#draft, this.#parts.wishes);
    if (agreed === undefined) return ANSWER.reject;
    const next = { ...this.#draft, ...agreed.set };
    if (rule.scope === 'session' && this.#parts.existing !== undefined && !isSameSession(next, this.#draft))
      return ANSWER.reject;
    this.#draft = next;
    return agreed.answer;
  }

  get session(): SessionParameters {
    const { headerDigest: _h, dataDigest: _d, maxSendLength: _s, maxReceiveLength: _r, ...session } = this.#draft;
    return { ...session, firstBurstLength: Math.min(session.firstBurstLength, session.maxBurstLength) };
  }

  get connection(): ConnectionParameters {
    const { headerDigest, dataDigest, maxSendLength, maxReceiveLength } = this.#draft;
    return { headerDigest, dataDigest, maxSendLength, maxReceiveLength };
  }
}

const isLast = ({ key }: Pair): boolean => key === 'FirstBurstLength';

function isSameSession(a: SessionParameters, b: SessionParameters): boolean {
  return (Object.keys(SESSION_DEFAULTS) as (keyof SessionParameters)[]).every((field) => a[field] === b[field]);
}
