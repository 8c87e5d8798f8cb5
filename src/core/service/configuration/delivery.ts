/** How a configuration gets to its gateway: down the connection that the gateway holds, whichever server has it. */
import type { ConfigurationReceipt, GatewayConfiguration } from '../../protocol/index.ts';

export interface ConfigurationDelivery {
  /**
   * Sends a gateway its configuration, and waits for its receipt.
   * @throws unavailable `gateway-not-connected`, `gateway-busy`; timeout `gateway-timed-out`; unsupported `gateway-outdated`
   */
  deliver(
    gatewayId: string,
    configuration: GatewayConfiguration,
    options: { readonly deadlineMs: number; readonly signal: AbortSignal },
  ): Promise<ConfigurationReceipt>;
}
