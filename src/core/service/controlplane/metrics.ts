/** The control plane in figures for Prometheus: docs/METRICS.md. Of no gateway and no customer. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const MS = 1000;

export class ControlMetrics {
  readonly #registry = new Registry();
  readonly #opened: Counter;
  readonly #ended: Counter;
  readonly #calls: Counter<'outcome'>;
  readonly #seconds: Histogram;

  constructor(connections: () => number) {
    const registers = [this.#registry];
    new Gauge({
      name: 'sgw_control_connections',
      help: 'Connections of gateways that this server holds.',
      registers,
      collect() {
        this.set(connections());
      },
    });
    this.#opened = new Counter({
      name: 'sgw_control_connections_opened_total',
      help: 'Connections of gateways that were taken.',
      registers,
    });
    this.#ended = new Counter({
      name: 'sgw_control_connections_ended_total',
      help: 'Connections of gateways that ended.',
      registers,
    });
    this.#calls = new Counter({
      name: 'sgw_control_calls_total',
      help: 'Calls to gateways that came to this server, by what they ended with.',
      labelNames: ['outcome'],
      registers,
    });
    this.#seconds = new Histogram({
      name: 'sgw_control_call_seconds',
      help: 'How long calls to gateways took, whichever server held the connection.',
      buckets: BUCKETS,
      registers,
    });
  }

  connected(): void {
    this.#opened.inc();
  }

  disconnected(): void {
    this.#ended.inc();
  }

  /** `outcome`: `ok`, or the code of the failure. */
  called(outcome: string, durationMs: number): void {
    this.#calls.inc({ outcome });
    this.#seconds.observe(durationMs / MS);
  }

  async text(): Promise<string> {
    return await this.#registry.metrics();
  }
}
