/**
 * What the service may do with a gateway that was activated there, over the connection that the gateway keeps: operate it as
 * the command line on the spot does, unless the operator on the spot has said no; and, whatever he said, give it the provider's
 * configuration, a new certificate, and word of a volume that another gateway has taken over (C6).
 */
import { SgwError, type Logger } from '../../kit/index.ts';
import type { CallContext, ControlConnectionDocument, OperationName } from '../../localapi/index.ts';
import {
  certificateRequest,
  type ConfigurationReceipt,
  type ControlRequest,
  type WelcomeFrame,
} from '../../protocol/index.ts';
import { openState, updateState, type GatewayState, type RemoteServiceState } from '../../state/index.ts';
import { writeCertificateFile } from '../certificate-file.ts';
import { gatewayTls, requireOwnCertificate } from '../network/identity.ts';
import { readPrivateKey } from '../key-file.ts';
import type { GatewayParts } from '../parts.ts';
import { providedState, takeConfiguration } from '../provided.ts';
import { notActivated } from '../session.ts';
import { ControlLink, type LinkStatus } from './link.ts';

/** To renew a certificate that has ended, before a connection. */
const IDENTITY_MS = 60_000;
/** A machine room gets its power back: its gateways do not all come in the same second. */
const FIRST_WAIT_MS = 1000;
const SERVERS_MAX = 16;
const LOCK_TIMEOUT_MS = 30_000;

/** They are for whoever is at the machine: what they begin and end is this connection itself. */
const ON_THE_SPOT: ReadonlySet<string> = new Set<OperationName>([
  'activate',
  'activation.begin',
  'activation.await',
  'activation.finish',
  'activation.withdraw',
  'deactivate',
]);

/** Settings that say what others may do on the machine. */
const OWN_SETTINGS = [
  ['remoteManagement', '--remote-management'],
  ['onTakeover', '--on-takeover'],
] as const;

/** What goes with a call from afar. */
export type RemoteContext = Omit<CallContext, 'lockTimeoutMs'>;

export interface ManagementParts {
  readonly parts: Pick<GatewayParts, 'home' | 'clock' | 'random' | 'version' | 'reachService'>;
  readonly log: Logger;
  /** Runs an operation of the local API for the home's own account, under the limits of the local API. */
  readonly call: (
    operation: string,
    call: { readonly input: object; readonly lockTimeoutMs: number },
    context: RemoteContext,
  ) => Promise<unknown>;
  /** Applies settings of serving that have changed. @throws when they can't be served */
  readonly reload: () => Promise<readonly string[]>;
  /** Has a volume that is served ask the store whether it is held still. */
  readonly checkHeld: (volumeId: string, signal: AbortSignal) => Promise<void>;
  /** Asks the service for the gateway's group, and goes in or out. @throws when it can't be asked */
  readonly regroup: () => Promise<void>;
  /** Whether a volume of this gateway's group is held here under a lease that is valid now. */
  readonly isHolding: (volumeId: string) => boolean;
}

export class Management {
  readonly #given: ManagementParts;
  readonly #link: ControlLink;
  /** As the state had it last; the state is read again before each connection. */
  #service: RemoteServiceState;

  /** Begins to connect. */
  constructor(given: ManagementParts, service: RemoteServiceState) {
    this.#given = given;
    this.#service = service;
    const { parts, log } = given;
    this.#link = new ControlLink({
      ...{ clock: parts.clock, random: parts.random, log },
      servers: () => [this.#service.gatewayUrl, ...(this.#service.controlServers ?? [])],
      identity: async () => gatewayTls(parts, AbortSignal.timeout(IDENTITY_MS)),
      hello: async () => this.#hello(),
      handler: async (request, how) => this.#answer(request, how),
      onWelcome: (welcome) => {
        this.#remember(welcome);
      },
    });
    this.#link.start(FIRST_WAIT_MS);
  }

  async document(): Promise<ControlConnectionDocument> {
    const { state, server, sinceMs, lastFailure } = this.#link.status;
    return {
      ...{ state, server, since: timeText(sinceMs) },
      remoteManagement: isAllowed(await this.#gateway()),
      lastFailure: lastFailure === null ? null : failureText(lastFailure),
    };
  }

  /** Ends the connection, once what is under way was answered. Idempotent. */
  async close(): Promise<void> {
    await this.#link.close();
  }

  async #hello(): Promise<{
    readonly gatewayId: string;
    readonly software: string;
    readonly configurationVersion: number;
    readonly remoteManagement: boolean;
  }> {
    const gateway = await this.#gateway();
    this.#service = gateway.service ?? this.#service;
    const { gatewayId } = gateway;
    return {
      gatewayId,
      software: this.#given.parts.version,
      configurationVersion: providedState(gateway).version,
      remoteManagement: isAllowed(gateway),
    };
  }

  async #answer(request: ControlRequest, how: RemoteContext): Promise<unknown> {
    switch (request.kind) {
      case 'call':
        return await this.#call(request, how);
      case 'configuration':
        return await this.#configure(request, how);
      case 'renew':
        return await this.#request();
      case 'certificate':
        return await this.#keep(request);
      case 'fenced':
        this.#given.log.warn(
          { volumeId: request.volumeId, byGatewayId: request.byGatewayId },
          'the service says that another gateway has taken a volume over',
        );
        // The store has the last word, so that nobody stops a volume by saying so.
        await this.#given.checkHeld(request.volumeId, how.signal);
        return {};
      case 'holding':
        return { holding: this.#given.isHolding(request.volumeId) };
      case 'group':
        await this.#given.regroup();
        return {};
    }
  }

  async #call(
    { operation, input, lockTimeoutMs }: Extract<ControlRequest, { kind: 'call' }>,
    { signal, onProgress }: RemoteContext,
  ): Promise<unknown> {
    if (!isAllowed(await this.#gateway())) throw managementOff();
    if (ON_THE_SPOT.has(operation)) throw onTheSpot(operation.replace('.', ' '));
    for (const [setting, flag] of OWN_SETTINGS)
      if (operation === 'configure' && Object.hasOwn(input, setting)) throw onTheSpot(`configure ${flag}`);
    const secrets = { unlock: noSecret, renew: noSecret };
    return await this.#given.call(operation, { input, lockTimeoutMs }, { signal, onProgress, secrets });
  }

  /** Takes over what the provider says; the receipt tells what could not be done. */
  async #configure(
    { configuration }: Extract<ControlRequest, { kind: 'configuration' }>,
    { signal }: RemoteContext,
  ): Promise<ConfigurationReceipt> {
    const { parts, log, reload } = this.#given;
    const receipt = await takeConfiguration({ parts, reload }, configuration, {
      signal,
      lockTimeoutMs: LOCK_TIMEOUT_MS,
    });
    const { version, failure } = receipt;
    if (failure === null) log.info({ version }, 'the configuration of the service is in force');
    else
      log.warn({ version, code: failure.code }, `the configuration of the service is not in force: ${failure.message}`);
    return receipt;
  }

  async #request(): Promise<{ readonly csr: string }> {
    const { gatewayId } = await this.#gateway();
    return { csr: await certificateRequest(await this.#key(gatewayId), gatewayId) };
  }

  /** In use from the next connection on. @throws denied `certificate-wrong` when it is not this gateway's, or of another CA */
  async #keep({ certificate }: Extract<ControlRequest, { kind: 'certificate' }>): Promise<unknown> {
    const { gatewayId, service } = await this.#gateway();
    requireOwnCertificate(certificate, await this.#key(gatewayId), service?.gatewayCa ?? '');
    await writeCertificateFile(this.#given.parts.home, certificate);
    this.#given.log.info({}, 'the service gave a new certificate');
    return {};
  }

  async #key(gatewayId: string): Promise<NonNullable<Awaited<ReturnType<typeof readPrivateKey>>>> {
    const key = await readPrivateKey(this.#given.parts.home);
    if (key !== undefined) return key;
    throw new SgwError('corrupt', 'identity-missing', `the private key of gateway ${gatewayId} is missing`, {
      hint: 'Put a copy of gateway.key back, or begin anew: sgw deactivate, then sgw activate.',
      details: { gatewayId },
    });
  }

  /** Keeps the addresses of the servers, so that a start finds one when that of activation is gone. */
  #remember({ servers }: WelcomeFrame): void {
    const { gatewayUrl, controlServers = [] } = this.#service;
    const others = servers.filter((server) => server !== gatewayUrl && isAddress(server)).slice(0, SERVERS_MAX);
    if (others.length === 0 || JSON.stringify([...others].sort()) === JSON.stringify([...controlServers].sort()))
      return;
    this.#service = { ...this.#service, controlServers: others };
    this.#change((gateway) => {
      if (gateway.service !== undefined) gateway.service.controlServers = others;
    }).catch((error: unknown) => {
      this.#given.log.warn({ err: error }, 'the servers of the service could not be kept');
    });
  }

  async #gateway(): Promise<GatewayState> {
    const { home } = this.#given.parts;
    const { gateway } = await openState(home);
    if (gateway === null) throw notActivated(home);
    return gateway;
  }

  async #change(change: (gateway: GatewayState) => void): Promise<void> {
    await updateState(
      this.#given.parts.home,
      ({ gateway }) => {
        if (gateway !== null) change(gateway);
      },
      { lockTimeoutMs: LOCK_TIMEOUT_MS },
    );
  }
}

/** Whether the operator on the spot lets the service operate the gateway: yes, until he says no. */
const isAllowed = ({ remoteManagement = true }: GatewayState): boolean => remoteManagement;

const isAddress = (server: string): boolean => {
  const url = URL.parse(server);
  return url?.protocol === 'https:' && url.origin === server && server.length <= 300;
};

const timeText = (timeMs: number): string => new Date(timeMs).toISOString();

function failureText({ atMs, error }: NonNullable<LinkStatus['lastFailure']>): {
  readonly at: string;
  readonly code: string;
  readonly message: string;
} {
  return { at: timeText(atMs), code: error.code, message: error.message };
}

async function noSecret(): Promise<never> {
  return Promise.reject(
    new SgwError('unsupported', 'secret-not-remote', 'this needs a secret, which is not asked for from afar', {
      hint: "Run the command on the gateway's machine, or give its daemon the key when it starts.",
    }),
  );
}

const managementOff = (): SgwError =>
  new SgwError('denied', 'remote-management-off', 'the operator of the gateway does not let it be managed from afar', {
    hint: "On the gateway's machine: sgw configure --remote-management on",
  });

const onTheSpot = (what: string): SgwError =>
  new SgwError('denied', 'not-from-afar', `${what} is only for whoever is at the gateway's machine`, {
    hint: "Run the command on the gateway's machine.",
  });
