/** What the rest of the service asks of the control plane: to do something on a gateway, wherever its connection is held. */
import type { Input, OperationName, Progress, Result } from '../../localapi/index.ts';

export interface GatewayCallOptions {
  /** The account that is acted for; it must be the gateway's. */
  readonly accountId: string;
  /** How long an answer is of use, milliseconds from now. */
  readonly deadlineMs: number;
  /** How long the gateway waits for locks, milliseconds; 30 000 when absent, and never longer than the deadline. */
  readonly lockTimeoutMs?: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

export interface GatewayCalls {
  /**
   * Runs an operation of the local API on a gateway. Answered once, or fails by name within its deadline; whether it was
   * done is then not known, unless the error says so.
   * @throws what the gateway answers with; unavailable `gateway-not-connected`, `gateway-busy`,
   * `gateway-connection-lost`, `control-bus-unavailable`; timeout `gateway-timed-out`; unsupported `gateway-outdated`; denied
   * `remote-management-off`; notFound `gateway-not-found` when it is another account's
   */
  call<N extends OperationName>(
    gatewayId: string,
    operation: N,
    input: Input<N>,
    options: GatewayCallOptions,
  ): Promise<Result<N>>;
  /** Whether any server holds a connection of the gateway now, as far as it is known. */
  isConnected(gatewayId: string, signal: AbortSignal): Promise<boolean>;
}
