/**
 * CHAP as a target does it (RFC 7143, 12.1.3; RFC 1994): it challenges the initiator, and proves itself to one that asks. No PDUs
 * here. Exports: `Chap`, `ChapAnswer`, `ChapError`.
 *
 * One answer is checked for each challenge. Secrets and answers are in no message.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { SgwError, type Random } from '../kit/index.ts';
import type { ChapCredential, ChapRules } from './targets.ts';

/** The initiator has not proved who it is, or may not be answered. What is wrong is for the log. */
export class ChapError extends SgwError {
  constructor(message: string) {
    super('denied', 'iscsi-chap', message);
  }
}

/** Numbers of CHAP_A (IANA, PPP Authentication Algorithms), strongest first, with the names of node:crypto. */
const CHAP_ALGORITHMS = [
  { number: '8', hash: 'sha3-256' },
  { number: '7', hash: 'sha256' },
  { number: '6', hash: 'sha1' },
  { number: '5', hash: 'md5' },
] as const;

type Algorithm = (typeof CHAP_ALGORITHMS)[number];

const CHALLENGE_BYTES = 32;

export interface Challenge {
  readonly algorithm: Algorithm['number'];
  readonly identifier: number;
  readonly challenge: Buffer;
}

export interface ChapAnswer {
  readonly user: string;
  readonly response: Buffer;
  /** The initiator wants the target to prove itself. */
  readonly asked: { readonly identifier: number; readonly challenge: Buffer } | undefined;
}

export class Chap {
  readonly #rules: ChapRules;
  readonly #random: Random;
  /** Stands for the secret of users who do not exist. */
  readonly #nobody: ChapCredential;
  #open: { readonly algorithm: Algorithm; readonly identifier: number; readonly challenge: Buffer } | undefined;

  constructor(rules: ChapRules, random: Random) {
    this.#rules = rules;
    this.#random = random;
    this.#nobody = { user: '', secret: random.bytes(16) };
  }

  /**
   * A new challenge, by the strongest of the algorithms that the initiator offers.
   * @throws ChapError: none of them is known
   */
  challenge(offered: readonly string[]): Challenge {
    const algorithm = CHAP_ALGORITHMS.find(({ number }) => offered.includes(number));
    if (algorithm === undefined) throw new ChapError('no CHAP algorithm in common');
    const identifier = this.#random.bytes(1).readUInt8(0);
    const challenge = this.#random.bytes(CHALLENGE_BYTES);
    this.#open = { algorithm, identifier, challenge };
    return { algorithm: algorithm.number, identifier, challenge };
  }

  /**
   * Checks the answer to the challenge. What the target proves itself with, when it is asked to.
   * @throws ChapError: unknown user, wrong secret, and an initiator that reflects the challenge or may not have a proof
   */
  check({ user, response, asked }: ChapAnswer): { readonly user: string; readonly response: Buffer } | undefined {
    const open = this.#open;
    this.#open = undefined;
    if (open === undefined) throw new ChapError('no challenge is open');
    const known = this.#rules.initiators.find((credential) => credential.user === user);
    const expected = digest(open.algorithm, open.identifier, (known ?? this.#nobody).secret, open.challenge);
    const isRight = response.length === expected.length && timingSafeEqual(response, expected);
    if (!isRight || known === undefined) throw new ChapError('wrong user or secret');
    if (asked === undefined) return undefined;
    const target = 'target' in known ? known.target : this.#rules.target;
    if (target === undefined) throw new ChapError('the target has no secret to prove itself with');
    if (asked.challenge.equals(open.challenge)) throw new ChapError('the initiator sent the challenge back');
    if (isSameSecret(target.secret, known.secret)) throw new ChapError('one secret is used in both directions');
    return {
      user: target.user,
      response: digest(open.algorithm, asked.identifier, target.secret, asked.challenge),
    };
  }
}

function digest({ hash }: Algorithm, identifier: number, secret: Buffer, challenge: Buffer): Buffer {
  return createHash(hash).update(Buffer.of(identifier)).update(secret).update(challenge).digest();
}

const isSameSecret = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);
