/** What the process behind the local API lets its callers do with it; only a daemon has one. */
import type {
  CallContext,
  GatewayDocument,
  GatewayLogsDocument,
  GatewayMetricsDocument,
  GatewayReloadDocument,
  GatewayStopDocument,
  Input,
} from '../localapi/index.ts';

export interface GatewayProcess {
  show(call: CallContext): Promise<GatewayDocument>;
  /** Resolves when nothing is served any more; the process ends once the answer is out. */
  stop(input: Input<'gateway.stop'>, call: CallContext): Promise<GatewayStopDocument>;
  /** What its log has had since its start, as far back as it is kept in memory. */
  logs(input: Input<'gateway.logs'>): Promise<GatewayLogsDocument>;
  metrics(): Promise<GatewayMetricsDocument>;
  reload(call: CallContext): Promise<GatewayReloadDocument>;
}
