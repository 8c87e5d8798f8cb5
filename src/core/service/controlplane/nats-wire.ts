/**
 * What servers tell each other over NATS: sealed, since it may carry what a gateway is told in confidence, and since whoever
 * can publish there must not be able to command gateways. docs/formats/control-frames.md.
 *
 * AES-256-GCM with a key derived from the service's, over JSON; the subject is authenticated with it, so that a message counts
 * only where it was sent to. nonce (12 bytes), ciphertext, tag (16 bytes).
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { ErrorDocument } from '../../kit/index.ts';
import type { BusNotice, Registration } from './control-bus.ts';

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** To one server. */
export type Sent =
  | {
      readonly t: 'request';
      readonly id: string;
      readonly body: unknown;
      readonly deadlineMs: number;
      /** By the sender's clock: one that is old was repeated by somebody. */
      readonly sentAtMs: number;
    }
  | { readonly t: 'cancel'; readonly id: string };

/** To who sent a request. */
export type Reply =
  /** It has begun, or goes on. */
  | { readonly t: 'alive' }
  | { readonly t: 'part'; readonly part: unknown }
  /** A piece of the JSON of a long answer; `answer` without `answer` follows the last. */
  | { readonly t: 'piece'; readonly text: string }
  | { readonly t: 'answer'; readonly answer?: unknown }
  | { readonly t: 'error'; readonly error: ErrorDocument };

/** Who holds a gateway? */
export interface Question {
  readonly gatewayId: string;
}

/** Null: not this one. */
export interface Holding {
  readonly serverId: string;
  readonly registration: Registration | null;
}

/** A server begins: others ask it from then on. */
export interface Joined {
  readonly kind: 'joined';
  readonly serverId: string;
  readonly address: string;
}

export interface Messages {
  sent: Sent;
  reply: Reply;
  question: Question;
  holding: Holding;
  notice: BusNotice | Joined;
}

export class BusSeal {
  readonly #key: Uint8Array;

  /** `key` has 32 bytes. */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  seal<K extends keyof Messages>(_kind: K, subject: string, message: Messages[K]): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(subject, 'utf8'));
    return Buffer.concat([nonce, cipher.update(JSON.stringify(message), 'utf8'), cipher.final(), cipher.getAuthTag()]);
  }

  /** Undefined when it was not sealed with this key for this subject. */
  open<K extends keyof Messages>(_kind: K, subject: string, bytes: Uint8Array): Messages[K] | undefined {
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    const decipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(subject, 'utf8')).setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
      return JSON.parse(text.toString('utf8')) as Messages[K];
    } catch {
      return undefined;
    }
  }
}
