/**
 * Access keys of users (AWS form): one document each, its secret sealed by the service key. Verifying a signature needs the
 * secret itself, so a hash would not do.
 *
 * Invariant: what is remembered of a key is at most `REMEMBERED_MS` old, so a revoked key is refused by every server within
 * that time, and by the one that revoked it at once.
 */
import { changeDocument, createDocument, readDocument } from '../../blockstore/index.ts';
import { problemOfName, SgwError } from '../../kit/index.ts';
import type { AccessKeyRecord } from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';
import type { Quotas } from '../quotas/quotas.ts';
import { isSame } from '../secrets.ts';
import type { User } from './principal.ts';
import type { RootAccount } from './root-account.ts';
import type { ServiceKey } from './service-key.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const ID_CHARACTERS = 16;
/** 40 characters of base64. */
const SECRET_BYTES = 30;
const REMEMBERED_MS = 2000;
const REMEMBERED_MAX = 4096;
const TRIES = 4;
/** As many as an account needs to change them, and not so many that listing is work. */
const KEYS_PER_ACCOUNT_MAX = 100;

interface StoredKey extends AccessKeyRecord {
  /** @see ServiceKey.seal */
  readonly sealedSecret: string;
}

/** What verifying a signature takes. */
export interface SigningKey {
  readonly user: User;
  readonly secretAccessKey: string;
}

interface Remembered {
  readonly key: SigningKey | undefined;
  readonly untilMs: number;
}

const isAccessKeyId = (text: string): boolean => /^AKIA[A-Z2-7]{16}$/.test(text);

export class AccessKeys {
  readonly #context: ServiceContext;
  readonly #serviceKey: ServiceKey;
  readonly #root: RootAccount;
  readonly #quotas: Quotas;
  /** By access key id, those that are not there too; oldest first. */
  readonly #remembered = new Map<string, Remembered>();
  /** How many keys this process has made or revoked: what was read before is not remembered after. */
  #changes = 0;

  constructor(context: ServiceContext, serviceKey: ServiceKey, root: RootAccount, quotas: Quotas) {
    this.#context = context;
    this.#serviceKey = serviceKey;
    this.#root = root;
    this.#quotas = quotas;
  }

  /**
   * Makes a key. Durable when it resolves; the secret is told here and never again.
   * @throws invalid `bad-name`; exhausted `too-many-keys`; denied `quota-exceeded`
   */
  async create(
    { accountId, userName }: { readonly accountId: string; readonly userName: string },
    signal: AbortSignal,
  ): Promise<AccessKeyRecord & { readonly secretAccessKey: string }> {
    const problem = problemOfName(userName);
    if (problem !== undefined) throw new SgwError('invalid', 'bad-name', `the name for a user ${problem}`);
    const good = (await this.list(accountId, signal)).filter((key) => key.revokedAt === null);
    if (good.length >= KEYS_PER_ACCOUNT_MAX) throw tooManyKeys(accountId);
    await this.#quotas.require(accountId, { keys: 1 }, signal);
    const { blocks } = this.#context;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const accessKeyId = this.#newId();
      const secretAccessKey = blocks.random.bytes(SECRET_BYTES).toString('base64');
      const place = serviceKeys.accessKey(accessKeyId);
      const record = { accessKeyId, accountId, userName, createdAt: timeOf(this.#context), revokedAt: null };
      const sealedSecret = this.#serviceKey.seal(Buffer.from(secretAccessKey, 'utf8'), place);
      const stored: StoredKey = { ...record, sealedSecret };
      if (!(await createDocument(blocks, place, stored, signal))) continue;
      this.#forget(accessKeyId);
      return { ...record, secretAccessKey };
    }
    throw new SgwError('conflict', 'access-key-exists', 'every access key id that was tried is taken', {
      hint: 'Try again.',
    });
  }

  /** Oldest first; of all accounts when `accountId` is null. */
  async list(accountId: string | null, signal: AbortSignal): Promise<AccessKeyRecord[]> {
    const { blocks } = this.#context;
    const keys: AccessKeyRecord[] = [];
    for await (const { key } of blocks.objects.list(serviceKeys.accessKeys, { signal })) {
      const stored = await readDocument<StoredKey>(blocks, key, signal);
      if (stored === undefined || (accountId !== null && stored.value.accountId !== accountId)) continue;
      keys.push(recordOf(stored.value));
    }
    return keys.sort((a, b) => (a.createdAt + a.accessKeyId < b.createdAt + b.accessKeyId ? -1 : 1));
  }

  /** Undefined when there is none. */
  async find(accessKeyId: string, signal: AbortSignal): Promise<AccessKeyRecord | undefined> {
    const stored = await this.#read(accessKeyId, signal);
    return stored === undefined ? undefined : recordOf(stored);
  }

  /** For good. Durable when it resolves. @throws notFound when there is none */
  async revoke(accessKeyId: string, signal: AbortSignal): Promise<AccessKeyRecord & { readonly changed: boolean }> {
    const revokedAt = timeOf(this.#context);
    let changed = false;
    const stored = await changeDocument<StoredKey>(
      this.#context.blocks,
      serviceKeys.accessKey(accessKeyId),
      (now) => {
        changed = now.revokedAt === null;
        return changed ? { ...now, revokedAt } : now;
      },
      signal,
    );
    this.#forget(accessKeyId);
    return { ...recordOf(stored), changed };
  }

  /** What `signingKey` gives without a look at the store; undefined when it has to look. */
  remembered(accessKeyId: string): { readonly key: SigningKey | undefined } | undefined {
    const known = this.#remembered.get(accessKeyId);
    return known !== undefined && this.#context.blocks.clock.monotonicMs() < known.untilMs ? known : undefined;
  }

  /** The key to verify a signature with; undefined when it is unknown or revoked. As old as `REMEMBERED_MS` at most. */
  async signingKey(accessKeyId: string, signal: AbortSignal): Promise<SigningKey | undefined> {
    if (!isAccessKeyId(accessKeyId)) return undefined;
    const { clock } = this.#context.blocks;
    const known = this.remembered(accessKeyId);
    if (known !== undefined) return known.key;
    // The time from before it is read: it is no older than that.
    const untilMs = clock.monotonicMs() + REMEMBERED_MS;
    const changes = this.#changes;
    const stored = await this.#read(accessKeyId, signal);
    const key = stored?.revokedAt !== null ? undefined : await this.#open(stored, signal);
    if (changes === this.#changes) this.#remember(accessKeyId, { key, untilMs });
    return key;
  }

  /**
   * Who has this key, by its secret itself: for forms that people fill in.
   * @throws denied `access-key-unknown`, in the same words for an unknown key and a wrong secret
   */
  async checkSecret(accessKeyId: string, secretAccessKey: string, signal: AbortSignal): Promise<User> {
    const key = await this.signingKey(accessKeyId, signal);
    const isRight = isSame(secretAccessKey, key?.secretAccessKey ?? NO_SECRET);
    if (key === undefined || !isRight) throw accessKeyUnknown();
    return key.user;
  }

  #forget(accessKeyId: string): void {
    this.#changes++;
    this.#remembered.delete(accessKeyId);
  }

  #remember(accessKeyId: string, remembered: Remembered): void {
    this.#remembered.delete(accessKeyId);
    this.#remembered.set(accessKeyId, remembered);
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= REMEMBERED_MAX) break;
      this.#remembered.delete(oldest);
    }
  }

  async #open(stored: StoredKey, signal: AbortSignal): Promise<SigningKey> {
    const { accessKeyId, accountId, sealedSecret } = stored;
    const secret = this.#serviceKey.unseal(sealedSecret, serviceKeys.accessKey(accessKeyId));
    const isRoot = accountId === (await this.#root.accountId(signal));
    return {
      user: { kind: 'user', accountId, accessKeyId, isRoot },
      secretAccessKey: secret.toString('utf8'),
    };
  }

  async #read(accessKeyId: string, signal: AbortSignal): Promise<StoredKey | undefined> {
    if (!isAccessKeyId(accessKeyId)) return undefined;
    return (await readDocument<StoredKey>(this.#context.blocks, serviceKeys.accessKey(accessKeyId), signal))?.value;
  }

  #newId(): string {
    // 256 is a multiple of 32, so that every character is as likely as another.
    const characters = [...this.#context.blocks.random.bytes(ID_CHARACTERS)].map((byte) => ALPHABET[byte % 32] ?? '');
    return `AKIA${characters.join('')}`;
  }
}

/** What is compared, or signed with, in place of the secret of a key that does not exist. */
export const NO_SECRET = Buffer.alloc(SECRET_BYTES).toString('base64');

const accessKeyUnknown = (): SgwError =>
  new SgwError('denied', 'access-key-unknown', 'the access key is unknown or revoked, or its secret is another', {
    hint: 'Check the access key id and the secret.',
  });

const recordOf = ({ accessKeyId, accountId, userName, createdAt, revokedAt }: StoredKey): AccessKeyRecord => ({
  accessKeyId,
  accountId,
  userName,
  createdAt,
  revokedAt,
});

function tooManyKeys(accountId: string): SgwError {
  const message = `account ${accountId} has ${String(KEYS_PER_ACCOUNT_MAX)} access keys`;
  return new SgwError('exhausted', 'too-many-keys', message, {
    hint: 'Revoke those that nobody uses: sgw service key list, sgw service key revoke.',
    details: { accountId },
  });
}
