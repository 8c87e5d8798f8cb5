/** What the service counts of its requests. No account, key or name of anybody is in it: docs/METRICS.md. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export type ListenerName = 'api' | 'gateways';
export type Refusal = 'rate' | 'draining' | 'connections';

const SECONDS = [0.005, 0.025, 0.1, 0.5, 2, 10, 60];

export class ServerMetrics {
  /** Front ends may add their own. */
  readonly registry = new Registry();
  readonly #requests;
  readonly #seconds;
  readonly #refused;
  readonly #connections;

  constructor(version: string) {
    const registers = [this.registry];
    new Gauge({
      ...{ name: 'sgw_build_info', help: 'Always 1.', labelNames: ['version'] as const, registers },
    }).set({ version }, 1);
    this.#requests = new Counter({
      ...{ name: 'sgw_service_requests_total', help: 'Requests that were answered, by front end and class of status.' },
      ...{ labelNames: ['front_end', 'status'] as const, registers },
    });
    this.#seconds = new Histogram({
      ...{ name: 'sgw_service_request_seconds', help: 'Time until requests were answered.', buckets: SECONDS },
      ...{ labelNames: ['front_end'] as const, registers },
    });
    this.#refused = new Counter({
      ...{ name: 'sgw_service_refused_total', help: 'Requests that were refused before any front end saw them.' },
      ...{ labelNames: ['listener', 'reason'] as const, registers },
    });
    this.#connections = new Gauge({
      ...{ name: 'sgw_service_connections', help: 'Connections that are open.' },
      ...{ labelNames: ['listener'] as const, registers },
    });
  }

  answered(frontEnd: string, status: number, durationMs: number): void {
    this.#requests.inc({ front_end: frontEnd, status: `${String(Math.floor(status / 100))}xx` });
    this.#seconds.observe({ front_end: frontEnd }, durationMs / 1000);
  }

  refused(listener: ListenerName, reason: Refusal): void {
    this.#refused.inc({ listener, reason });
  }

  opened(listener: ListenerName): void {
    this.#connections.inc({ listener });
  }

  closed(listener: ListenerName): void {
    this.#connections.dec({ listener });
  }

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    return await this.registry.metrics();
  }
}
