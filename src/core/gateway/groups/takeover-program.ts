/**
 * The operator's program that is run when a volume was taken over here, to move an address, for one (docs/GROUPS.md). Which
 * program that is, is a setting of this gateway alone: no document of the service names one.
 */
import { toSgwError, type Clock, type Logger, type VolumeId } from '../../kit/index.ts';
import { openState } from '../../state/index.ts';

const TIMEOUT_MS = 30_000;
/** Of its output, in a message. */
const OUTPUT_SHOWN_MAX = 200;

export interface Takeover {
  readonly volumeId: VolumeId;
  readonly exportName: string;
  /** Under which it is served now. */
  readonly epoch: number;
  /** Id of this gateway. */
  readonly holder: string;
}

export interface TakeoverFailure {
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly exportName: string;
  readonly message: string;
}

export class TakeoverProgram {
  readonly #home: string;
  readonly #clock: Pick<Clock, 'nowMs'>;
  #lastFailure: TakeoverFailure | undefined;

  constructor({ home, clock }: { readonly home: string; readonly clock: Pick<Clock, 'nowMs'> }) {
    this.#home = home;
    this.#clock = clock;
  }

  /** Why the program failed the last time that it was run; undefined when it did not. */
  get lastFailure(): TakeoverFailure | undefined {
    return this.#lastFailure;
  }

  /**
   * Runs the program that the settings name now, once the volume is served; nothing where they name none. Resolves when it has
   * ended, after 30 s at the latest, and what it left running with it. Never fails: what went wrong is logged, and in `status`.
   */
  async run(
    takeover: Takeover,
    { log, signal }: { readonly log: Logger; readonly signal: AbortSignal },
  ): Promise<void> {
    const { volumeId, exportName } = takeover;
    const startedMs = this.#clock.nowMs();
    try {
      const program = (await openState(this.#home)).gateway?.onTakeover;
      if (program === undefined) return;
      const failure = await this.#outcomeOf(program, takeover, signal);
      this.#lastFailure = failure === undefined ? undefined : this.#noted(exportName, failure);
      if (failure !== undefined) log.error({ volumeId, program }, `the program for take-overs failed: ${failure}`);
      else log.info({ volumeId, program, ms: this.#clock.nowMs() - startedMs }, 'the program for take-overs was run');
    } catch (error) {
      const { message } = toSgwError(error);
      this.#lastFailure = this.#noted(exportName, message);
      log.error({ volumeId, err: toSgwError(error) }, 'the program for take-overs could not be run');
    }
  }

  /** What went wrong; undefined when nothing did. */
  async #outcomeOf(
    program: string,
    { volumeId, exportName, epoch, holder }: Takeover,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { runCommand } = await import('../run-command.ts');
    const { exitCode, isTimedOut, output } = await runCommand({
      command: `exec ${quotedForShell(program)}`,
      cwd: this.#home,
      env: { SGW_VOLUME: volumeId, SGW_EXPORT: exportName, SGW_EPOCH: String(epoch), SGW_HOLDER: holder },
      timeoutMs: TIMEOUT_MS,
      signal,
    });
    if (isTimedOut) return `it did not end within ${String(TIMEOUT_MS / 1000)} s`;
    if (exitCode === 0) return undefined;
    const said = output.trim().slice(-OUTPUT_SHOWN_MAX);
    const how = exitCode === null ? 'a signal ended it' : `it ended with code ${String(exitCode)}`;
    return said === '' ? how : `${how}, and said: ${said}`;
  }

  #noted(exportName: string, message: string): TakeoverFailure {
    return { at: new Date(this.#clock.nowMs()).toISOString(), exportName, message };
  }
}

const quotedForShell = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
