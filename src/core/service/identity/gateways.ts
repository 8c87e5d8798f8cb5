/**
 * The gateways that activation made, and whether a request is really one of theirs.
 *
 * States: `active` -> `deregistered`, for good. A gateway's public key never changes; its credential names the issue.
 */
import { changeDocument, createDocument, readDocument } from '../../blockstore/index.ts';
import { SgwError } from '../../kit/index.ts';
import {
  fingerprintOf,
  type ConfigurationRequest,
  type ConfigurationStanding,
  type Credential,
  type CustomerInformation,
  type GatewaySummary,
  type ProvidedServing,
  type RequestAnswer,
  type Signed,
  type SignedMessageName,
} from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';
import { isSame } from '../secrets.ts';
import { notFoundResource } from './authorization.ts';
import type { SignatureCheck } from './signature-check.ts';

export interface GatewayRecord extends CustomerInformation {
  readonly publicKey: string;
  readonly credentialId: string;
  readonly activationId: string;
  readonly state: 'active' | 'deregistered';
  readonly registeredAt: string;
  readonly deregisteredAt: string | null;
  readonly configurationVersion: number;
  /** What the provider wants of its serving; absent: nothing special. These four are absent in records of before they were. */
  readonly serving?: ProvidedServing;
  /** What its operator asks for. */
  readonly request?: ConfigurationRequest | null;
  /** To the newest request that was answered. */
  readonly answer?: RequestAnswer | null;
  /** What the gateway said of a version last. */
  readonly receipt?: ConfigurationStanding['receipt'];
}

const CREDENTIAL_BYTES = 16;

export class Gateways {
  readonly #context: ServiceContext;
  readonly #signatures: SignatureCheck;
  readonly #farewells: ((gatewayId: string, signal: AbortSignal) => Promise<void>)[] = [];
  readonly #watches = new Set<(gatewayId: string) => void>();

  constructor(context: ServiceContext, signatures: SignatureCheck) {
    this.#context = context;
    this.#signatures = signatures;
  }

  /**
   * Registers what was claimed, or finds it registered by an earlier try. Durable when it resolves.
   * @throws conflict `gateway-exists` when the id is another gateway's; denied `gateway-deregistered` when this activation
   * made it, and it has left
   */
  async register(
    customer: CustomerInformation,
    device: { readonly publicKey: string; readonly activationId: string },
    signal: AbortSignal,
  ): Promise<Credential> {
    const { blocks } = this.#context;
    const record: GatewayRecord = {
      ...customer,
      publicKey: device.publicKey,
      credentialId: `cred-${blocks.random.bytes(CREDENTIAL_BYTES).toString('hex')}`,
      activationId: device.activationId,
      state: 'active',
      registeredAt: timeOf(this.#context),
      deregisteredAt: null,
      configurationVersion: 1,
    };
    if (await createDocument(blocks, serviceKeys.gateway(customer.gatewayId), record, signal))
      return credentialOf(record);
    return credentialOf(
      await changeDocument<GatewayRecord>(
        blocks,
        serviceKeys.gateway(customer.gatewayId),
        (now) => {
          if (now.activationId === record.activationId) return requireStaying(now);
          requireFree(now, customer.accountId);
          return record;
        },
        signal,
      ),
    );
  }

  /** The credential that an activation got, once more. @throws denied `gateway-deregistered` when it is void */
  async credentialOf(gatewayId: string, activationId: string, signal: AbortSignal): Promise<Credential> {
    const record = await this.find(gatewayId, signal);
    if (record?.activationId !== activationId) throw deregistered(gatewayId);
    return credentialOf(requireStaying(record));
  }

  /** Undefined when there never was one. */
  async find(gatewayId: string, signal: AbortSignal): Promise<GatewayRecord | undefined> {
    if (!/^sgw-[0-9a-f]{8}$/.test(gatewayId)) return undefined;
    return (await readDocument<GatewayRecord>(this.#context.blocks, serviceKeys.gateway(gatewayId), signal))?.value;
  }

  /** @throws notFound `gateway-not-found` */
  async require(gatewayId: string, signal: AbortSignal): Promise<GatewayRecord> {
    const record = await this.find(gatewayId, signal);
    if (record !== undefined) return record;
    throw notFoundResource({ kind: 'gateway', id: gatewayId });
  }

  /** In the order of their ids; of all accounts when `accountId` is null. */
  async list(accountId: string | null, signal: AbortSignal): Promise<GatewayRecord[]> {
    const { blocks } = this.#context;
    const gateways: GatewayRecord[] = [];
    for await (const { key } of blocks.objects.list(serviceKeys.gateways, { signal })) {
      const stored = await readDocument<GatewayRecord>(blocks, key, signal);
      if (stored === undefined || (accountId !== null && stored.value.accountId !== accountId)) continue;
      gateways.push(stored.value);
    }
    return gateways.sort((a, b) => (a.gatewayId < b.gatewayId ? -1 : 1));
  }

  /** Calls `onGone` when this process has deregistered a gateway, until the returned function is called. */
  onDeregistered(onGone: (gatewayId: string) => void): () => void {
    this.#watches.add(onGone);
    return () => this.#watches.delete(onGone);
  }

  /**
   * The gateway that sent the request.
   * @throws denied `gateway-unknown`, `credential-wrong`, and what `SignatureCheck` throws
   */
  async authenticate(
    message: SignedMessageName,
    request: Signed<unknown>,
    signal: AbortSignal,
  ): Promise<GatewayRecord> {
    const record = await this.find(request.signer, signal);
    if (record === undefined) throw refused('gateway-unknown', 'this service knows no such gateway');
    this.#signatures.verify(record.publicKey, message, request);
    // Only now, so that nobody without the key learns more than whether the gateway exists.
    if (!isSame(request.credentialId ?? '', record.credentialId))
      throw refused('credential-wrong', `the credential is not that of gateway ${record.gatewayId}`);
    return record;
  }

  /** As `authenticate`, of one that has not left. @throws denied `gateway-deregistered` */
  async requireActive(
    message: SignedMessageName,
    request: Signed<unknown>,
    signal: AbortSignal,
  ): Promise<GatewayRecord> {
    return requireStaying(await this.authenticate(message, request, signal));
  }

  /** Has `leave` called before a gateway is deregistered, whoever wants that. What it throws refuses it. */
  beforeDeregistered(leave: (gatewayId: string, signal: AbortSignal) => Promise<void>): void {
    this.#farewells.push(leave);
  }

  /** Voids the gateway's credential, for good. Again: nothing. Durable when it resolves. */
  async deregister(gatewayId: string, signal: AbortSignal): Promise<void> {
    for (const leave of this.#farewells) await leave(gatewayId, signal);
    const deregisteredAt = timeOf(this.#context);
    await changeDocument<GatewayRecord>(
      this.#context.blocks,
      serviceKeys.gateway(gatewayId),
      (now) => (now.state === 'deregistered' ? now : { ...now, state: 'deregistered', deregisteredAt }),
      signal,
    );
    for (const onGone of this.#watches) onGone(gatewayId);
  }
}

/** What others may know of a gateway. */
export function summaryOf(record: GatewayRecord): GatewaySummary {
  const { gatewayId, gatewayName, accountId, mode, region, state } = record;
  const { registeredAt, deregisteredAt, configurationVersion } = record;
  return {
    ...{ gatewayId, gatewayName, accountId, mode, region, state },
    ...{ registeredAt, deregisteredAt, configurationVersion },
    keyFingerprint: fingerprintOf(record.publicKey),
  };
}

/** @throws denied `gateway-deregistered` */
export function requireStaying(record: GatewayRecord): GatewayRecord {
  if (record.state === 'active') return record;
  throw deregistered(record.gatewayId);
}

const deregistered = (gatewayId: string): SgwError =>
  refused('gateway-deregistered', `gateway ${gatewayId} was deregistered`);

/** The id of a gateway that has left may be taken by its account again. @throws conflict `gateway-exists` */
export function requireFree(record: GatewayRecord | undefined, accountId: string): void {
  if (record === undefined || (record.state === 'deregistered' && record.accountId === accountId)) return;
  throw new SgwError('conflict', 'gateway-exists', `there is a gateway ${record.gatewayId} already`, {
    details: { gatewayId: record.gatewayId },
  });
}

function credentialOf(record: GatewayRecord): Credential {
  return {
    credentialId: record.credentialId,
    gatewayId: record.gatewayId,
    accountId: record.accountId,
    keyFingerprint: fingerprintOf(record.publicKey),
    issuedAt: record.registeredAt,
  };
}

function refused(code: string, message: string): SgwError {
  return new SgwError('denied', code, message, {
    hint: 'Activate the gateway anew: sgw deactivate, then sgw activate.',
  });
}
