/**
 * The security stage of a login (RFC 7143, 12.1): AuthMethod, and CHAP where rules ask for it. No PDUs here.
 * States: method -> algorithm -> response -> passed; without rules from method to passed. Nothing leads back.
 */
import type { Random } from '../kit/index.ts';
import { Chap } from './chap.ts';
import { LoginRefused } from './login-refused.ts';
import type { ChapRules } from './targets.ts';
import { encodeBinary, parseBinary, parseList, parseNumber, TextError, type Pair } from './text.ts';
import { LOGIN_STATUS } from './wire.ts';

const OWN_KEYS: ReadonlySet<string> = new Set(['AuthMethod', 'CHAP_A', 'CHAP_I', 'CHAP_C', 'CHAP_N', 'CHAP_R']);

/** Whether a key is of the security stage, and of no other. */
export const isSecurityKey = (key: string): boolean => OWN_KEYS.has(key);

export class Authentication {
  readonly #chap: Chap | undefined;
  #state: 'method' | 'algorithm' | 'response' | 'passed' = 'method';
  #user: string | undefined;

  constructor(rules: ChapRules | undefined, random: Random) {
    this.#chap = rules === undefined ? undefined : new Chap(rules, random);
  }

  /**
   * Whether an initiator that wants to leave the stage may do so. Without rules it need not even name a method.
   * @throws LoginRefused: it does not intend to prove itself, but has to
   */
  mayLeave(): boolean {
    if (this.#state !== 'method') return this.#state === 'passed';
    if (this.#chap === undefined) return true;
    throw new LoginRefused(LOGIN_STATUS.authenticationFailed, 'the initiator names no AuthMethod');
  }

  /** Whom CHAP has proved. */
  get user(): string | undefined {
    return this.#user;
  }

  /**
   * Answers the keys of one request. Those of other stages are not to be among them.
   * @throws LoginRefused, ChapError: the login is over; TextError
   */
  answer(pairs: readonly Pair[]): readonly Pair[] {
    const values = new Map(pairs.map(({ key, value }) => [key, value]));
    const answers: Pair[] = [];
    const method = values.get('AuthMethod');
    if (method !== undefined) answers.push({ key: 'AuthMethod', value: this.#choose(parseList(method)) });
    const isChapSent = pairs.some(({ key }) => key.startsWith('CHAP_'));
    if (isChapSent) {
      if (this.#chap === undefined) throw new TextError('CHAP was not agreed on');
      if (this.#state === 'algorithm') answers.push(...challengePairs(this.#chap, required(values, 'CHAP_A')));
      else if (this.#state === 'response') answers.push(...this.#check(this.#chap, values));
      else throw new TextError('a key of CHAP comes at the wrong time');
      this.#state = this.#state === 'algorithm' ? 'response' : 'passed';
    }
    return answers;
  }

  #choose(offered: readonly string[]): string {
    if (this.#state !== 'method') throw new TextError('AuthMethod is negotiated twice');
    const method = this.#chap === undefined ? 'None' : 'CHAP';
    if (!offered.includes(method))
      throw new LoginRefused(LOGIN_STATUS.authenticationFailed, `the initiator does not offer AuthMethod=${method}`);
    this.#state = this.#chap === undefined ? 'passed' : 'algorithm';
    return method;
  }

  #check(chap: Chap, values: ReadonlyMap<string, string>): readonly Pair[] {
    const user = required(values, 'CHAP_N');
    const response = binary(values, 'CHAP_R');
    const isAsked = values.has('CHAP_I') || values.has('CHAP_C');
    const asked = isAsked ? { identifier: identifierOf(values), challenge: binary(values, 'CHAP_C') } : undefined;
    const proof = chap.check({ user, response, asked });
    this.#user = user;
    if (proof === undefined) return [];
    return [
      { key: 'CHAP_N', value: proof.user },
      { key: 'CHAP_R', value: encodeBinary(proof.response) },
    ];
  }
}

function challengePairs(chap: Chap, offered: string): readonly Pair[] {
  const { algorithm, identifier, challenge } = chap.challenge(parseList(offered));
  return [
    { key: 'CHAP_A', value: algorithm },
    { key: 'CHAP_I', value: String(identifier) },
    { key: 'CHAP_C', value: encodeBinary(challenge) },
  ];
}

function required(values: ReadonlyMap<string, string>, key: string): string {
  const value = values.get(key);
  if (value === undefined) throw new LoginRefused(LOGIN_STATUS.missingParameter, `${key} is missing`);
  return value;
}

function binary(values: ReadonlyMap<string, string>, key: string): Buffer {
  const bytes = parseBinary(required(values, key));
  if (bytes === undefined) throw new TextError(`${key} is not a binary value`);
  return bytes;
}

function identifierOf(values: ReadonlyMap<string, string>): number {
  const identifier = parseNumber(required(values, 'CHAP_I'));
  if (identifier === undefined || identifier > 255) throw new TextError('CHAP_I is not from 0 to 255');
  return identifier;
}
