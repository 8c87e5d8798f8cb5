/** What every API of the service is given, and how it is put into a server. */
import type { FastifyInstance } from 'fastify';
import type { Logger } from '../../kit/index.ts';
import type { Activations } from '../activation/activations.ts';
import type { Audit } from '../audit/audit.ts';
import type { ServiceContext } from '../context.ts';
import type { GatewayCalls } from '../controlplane/gateway-calls.ts';
import type { ExportControl } from '../exportcontrol/export-control.ts';
import type { Accounts } from '../identity/accounts.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { Gateways } from '../identity/gateways.ts';

export interface ServerParts {
  readonly context: ServiceContext;
  readonly log: Logger;
  readonly authenticator: Authenticator;
  readonly accounts: Accounts;
  readonly gateways: Gateways;
  readonly activations: Pick<Activations, 'describe' | 'claim'>;
  readonly calls: GatewayCalls;
  readonly exports: ExportControl;
  readonly audit: Audit;
  /** Of sgw. */
  readonly version: string;
  /** In ARNs and metadata. */
  readonly region: string;
}

/** One API. Its routes share the listener with those of the others, so they keep to paths of their own. */
export interface FrontEnd {
  /** In logs and metrics. */
  readonly name: string;
  /** Which listener it belongs to: that of customers (SigV4), or that of gateways (mutual TLS). */
  readonly listener: 'api' | 'gateways';
  /** Adds the routes; `app` is an encapsulated context, so hooks, parsers and error handlers stay its own. */
  readonly add: (app: FastifyInstance) => void | Promise<void>;
  /** Ends what the front end keeps going. No request is under way. */
  readonly close?: () => Promise<void>;
}
