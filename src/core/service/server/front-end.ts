/** What every API of the service is given, and how it is put into a server. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Logger } from '../../kit/index.ts';
import type { MessageInput, MessageName, MessageResult } from '../../protocol/index.ts';
import type { Audit } from '../audit/audit.ts';
import type { ServiceContext } from '../context.ts';
import type { GatewayCalls } from '../controlplane/gateway-calls.ts';
import type { ExportControl } from '../exportcontrol/export-control.ts';
import type { AccessKeys } from '../identity/access-keys.ts';
import type { Accounts } from '../identity/accounts.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { GatewayPrincipals } from '../identity/gateway-principals.ts';
import type { Gateways } from '../identity/gateways.ts';
import type { GatewayPrincipal, User } from '../identity/principal.ts';
import type { Quotas } from '../quotas/quotas.ts';
import type { ServiceKey } from '../identity/service-key.ts';

export interface ServerParts {
  readonly context: ServiceContext;
  readonly log: Logger;
  readonly authenticator: Authenticator;
  readonly accounts: Accounts;
  readonly gateways: Gateways;
  /** Whether a gateway is active, as requests ask it; for connections that are held, and asked about at times. */
  readonly principals: Pick<GatewayPrincipals, 'requireActive'>;
  /** Who sent a request to the gateways' listener. It was proved when the request came; there is always one. */
  readonly gatewayOf: (request: FastifyRequest) => GatewayPrincipal;
  readonly keys: Pick<AccessKeys, 'checkSecret' | 'find'>;
  /** `derive` gives secrets for purposes of one's own. */
  readonly serviceKey: Pick<ServiceKey, 'derive'>;
  readonly messages: PrincipalMessages;
  readonly calls: GatewayCalls;
  readonly exports: ExportControl;
  readonly audit: Audit;
  readonly quotas: Quotas;
  /** Of sgw. */
  readonly version: string;
  /** In ARNs and metadata. */
  readonly region: string;
}

/** The messages of room `protocol`, by who sends them: each asks `authorization` first. */
export interface PrincipalMessages {
  /**
   * By a user: claims, accounts, keys and gateways, of the user's own account or, as root, of any.
   * @throws denied `message-refused`, `root-needed`; what is another's is notFound; what the message is refused with
   */
  asUser<N extends MessageName>(
    user: User,
    name: N,
    input: MessageInput<N>,
    signal: AbortSignal,
  ): Promise<MessageResult<N>>;
}

/** One API. Its routes share the listener with those of the others, so they keep to paths of their own. */
export interface FrontEnd {
  /** In logs and metrics. */
  readonly name: string;
  /** Which listener it belongs to: that of customers (SigV4), or that of gateways (mutual TLS). */
  readonly listener: 'api' | 'gateways';
  /** Adds the routes; `app` is an encapsulated context, so hooks, parsers and error handlers stay its own. */
  readonly add: (app: FastifyInstance) => void | Promise<void>;
  /** The server drains: no new requests come, those under way go on. For what is held open, such as WebSockets. */
  readonly drain?: () => Promise<void>;
  /** Ends what the front end keeps going. No request is under way. */
  readonly close?: () => Promise<void>;
}
