/**
 * One run of one command: the settings that flags, variables and preferences add up to, the client of
 * the gateway, and where results, questions and advice go. A command opens it after parsing, makes its
 * call and prints.
 */
import path from 'node:path';
import { GatewayClient, type OpenGateway } from '../client/index.ts';
import { ERROR_KINDS, SgwError, type ErrorKind } from '../kit/index.ts';
import type { Input, KeySecret, OperationName, Progress, Result, Secrets } from '../localapi/index.ts';
import type { GlobalFlags } from './flags.ts';
import type { Surroundings } from './gateway/runner.ts';
import type { Terminal } from './gateway/top.ts';
import { absolute, readPreferences, userHomeOf, type Preferences } from './preferences.ts';
import { unlockingSecrets, type SecretFiles, type SecretSurroundings } from './secrets.ts';
import { startProgress, type ProgressMode, type ProgressReporter } from './progress.ts';
import { Prompts } from './prompts.ts';
import { columnsOf, currentRuntime, write, type Runtime } from './runtime.ts';
import { styleFor, type Style } from './style.ts';

/** They do what they can without a secret that is not given. */
const NEVER_ASK: ReadonlySet<OperationName> = new Set<OperationName>(['status', 'store.copy']);
/** Fields of inputs that are paths. */
const PATHS = ['file', 'image', 'path'];
/** For a daemon that `--start` starts. */
const START_TIMEOUT_MS = 60_000;

export interface CallLimits {
  /** Fails with kind `timeout` after this many milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** What is being done, shown until the operation itself tells. */
  readonly label?: string | undefined;
  /** Starts the daemon when the operation needs one and none runs. */
  readonly startsGateway?: boolean | undefined;
  /** The same is asked again and again: a daemon that was replaced meanwhile is found anew, and no progress is shown. */
  readonly isRepeated?: boolean | undefined;
  /** What is to open the store from now on, for operations that set it. */
  readonly renew?: (() => Promise<KeySecret>) | undefined;
}

/** How a result looks to people: text, perhaps with a trailing line feed, for a width in columns. */
export type Render = (style: Style, columns: number) => string | Promise<string>;

export class Session implements AsyncDisposable {
  /** Absolute path of the home directory. */
  readonly home: string;
  readonly isJson: boolean;
  readonly prompts: Prompts;
  readonly preferences: Preferences;
  readonly #runtime: Runtime;
  readonly #isQuiet: boolean;
  readonly #isColored: boolean;
  readonly #progress: ProgressMode;
  readonly #hasHome: boolean;
  readonly #gateway: string | undefined;
  readonly #flags: GlobalFlags;
  readonly #newClient: () => GatewayClient;
  #client: GatewayClient;
  readonly #secrets: Secrets;
  /** Without questions. */
  readonly #unaskedSecrets: Secrets;
  /** The files of secrets that flags or variables name. */
  readonly secretFiles: SecretFiles;

  /** With `store`, that store is read, and no home is looked at. */
  constructor(flags: GlobalFlags, store?: string, runtime: Runtime = currentRuntime()) {
    const { env } = runtime;
    this.#runtime = runtime;
    this.#flags = flags;
    this.preferences = readPreferences(env);
    this.home = path.resolve(flags.home ?? this.preferences.defaultHome ?? defaultHome(env));
    this.isJson = flags.json ?? this.preferences.output === 'json';
    this.#isQuiet = flags.quiet;
    this.#isColored = wantsColor(flags, env, this.preferences);
    this.#progress = flags.quiet ? 'none' : flags.progress;
    this.prompts = new Prompts(runtime, !flags['no-input']);
    this.secretFiles = {
      keyFile: flags['key-file'],
      passphraseFile: flags['passphrase-file'],
      recoveryCodeFile: flags['recovery-code-file'],
    };
    this.#secrets = unlockingSecrets(this.secretFiles, this.secretSurroundings);
    const unasked = { ...this.secretSurroundings, neverAsks: true };
    this.#unaskedSecrets = unlockingSecrets(this.secretFiles, unasked);
    const account = flags.account === undefined ? {} : { accountId: flags.account };
    const place = {
      home: this.home,
      lockTimeoutMs: flags['lock-timeout'],
      ...account,
      ...(store === undefined ? {} : { store }),
    };
    this.#gateway = flags.gateway;
    if (flags.gateway !== undefined && store !== undefined) throw storeBesideGateway();
    this.#hasHome = store === undefined && flags.gateway === undefined;
    this.#newClient = () => new GatewayClient(place, this.#openGateway());
    this.#client = this.#newClient();
  }

  /** The gateway of the home, or the one elsewhere that was named. */
  #openGateway(): OpenGateway {
    const gateway = this.#gateway;
    if (gateway === undefined) return this.#runtime.openGateway;
    return async (options, signal) => {
      const { remoteGateway } = await import('./service/remote.ts');
      return await remoteGateway(gateway, this.#flags, this)(options, signal);
    };
  }

  /** Whether the gateway is elsewhere. */
  get isRemote(): boolean {
    return this.#gateway !== undefined;
  }

  /** The user's environment. */
  get env(): Runtime['env'] {
    return this.#runtime.env;
  }

  /** What secrets are read with. */
  get secretSurroundings(): SecretSurroundings {
    return { env: this.env, prompts: this.prompts, say: async (text) => this.say(text) };
  }

  /** The service that is to be asked in place of the gateway; undefined when none was named. */
  get serviceUrl(): string | undefined {
    return this.#flags.service;
  }

  /** What names a service and a key to it, and with which account to act. */
  get serviceFlags(): GlobalFlags {
    return this.#flags;
  }

  /** How long locks are waited for. */
  get lockTimeoutMs(): number {
    return this.#flags['lock-timeout'];
  }

  /** Fires when the user wants to stop. */
  get signal(): AbortSignal {
    return this.#runtime.interrupt;
  }

  /** What opens an encrypted store, asked for when it is needed. */
  get secrets(): Secrets {
    return this.#secrets;
  }

  /** The terminal, when there is one on both sides and people are to read. */
  get terminal(): Terminal | undefined {
    const { stdin, stdout } = this.#runtime;
    if (this.isJson || stdin.isTTY !== true || stdout.isTTY !== true) return undefined;
    return { stdin, stdout, style: styleFor(stdout, this.#isColored) };
  }

  /** Prints one of many documents: a line of JSON with `--json`, else what `render` makes of it. */
  async printLine(document: object, render: (style: Style, columns: number) => string): Promise<void> {
    const { stdout } = this.#runtime;
    this.#runtime.onPrint?.();
    const columns = stdout.isTTY === true ? columnsOf(stdout) : Number.POSITIVE_INFINITY;
    const text = this.isJson ? JSON.stringify(document) : render(styleFor(stdout, this.#isColored), columns);
    await write(stdout, `${text}\n`);
  }

  /** Runs the gateway of the home in this process: `work` gets what is around it. */
  async runGateway(isBackground: boolean, work: (surroundings: Surroundings) => Promise<void>): Promise<void> {
    const { withSurroundings } = await import('./gateway/runner.ts');
    await withSurroundings(this, isBackground, this.#runtime.stderr, work);
  }

  /** Runs a server of the service in this process: `work` gets where its log goes. */
  async runServer(logFile: string | undefined, work: (sink: Surroundings['sink']) => Promise<void>): Promise<void> {
    const { serverSink } = await import('./gateway/runner.ts');
    await work(serverSink(logFile, this.#runtime.stderr));
  }

  /** Runs an operation of the gateway with progress on standard error. @throws what the operation throws. */
  async call<N extends OperationName>(name: N, input: Input<N>, limits: CallLimits = {}): Promise<Result<N>> {
    try {
      return await this.#callOnce(name, input, limits);
    } catch (error) {
      if (limits.isRepeated === true) await this.#reconnect();
      if (
        this.isRemote ||
        limits.startsGateway !== true ||
        !(error instanceof SgwError) ||
        error.code !== 'daemon-needed'
      )
        throw error;
    }
    const { startGateway } = await import('./gateway/control.ts');
    await startGateway(this, { args: [], timeoutMs: START_TIMEOUT_MS });
    await this.#reconnect();
    return await this.#callOnce(name, input, limits);
  }

  /** What the client has opened may be gone, or the gateway in this process. */
  async #reconnect(): Promise<void> {
    await this.#client.close();
    this.#client = this.#newClient();
  }

  async #callOnce<N extends OperationName>(name: N, input: Input<N>, limits: CallLimits): Promise<Result<N>> {
    const start = (): ProgressReporter => {
      const started = startProgress(limits.isRepeated === true ? 'none' : this.#progress, this.#runtime.stderr);
      if (limits.label !== undefined) started.report({ label: limits.label, doneBytes: 0, totalBytes: 0 });
      return started;
    };
    await this.#tellWhosePath(name, input);
    let progress = start();
    /** A question can not be asked under a bar that moves. */
    const withoutProgress = async (read: () => Promise<KeySecret>): Promise<KeySecret> => {
      progress.stop();
      try {
        return await read();
      } finally {
        progress = start();
      }
    };
    const { renew } = limits;
    const secrets: Secrets = {
      unlock: async () => withoutProgress(NEVER_ASK.has(name) ? this.#unaskedSecrets.unlock : this.#secrets.unlock),
      ...(renew === undefined ? {} : { renew: async () => withoutProgress(renew) }),
    };
    try {
      return await this.#client.call(name, input, {
        signal: this.#runtime.interrupt,
        onProgress: (done) => {
          progress.report(done);
        },
        secrets,
        ...(limits.timeoutMs === undefined ? {} : { timeoutMs: limits.timeoutMs }),
      });
    } finally {
      progress.stop();
    }
  }

  /** That files of a gateway elsewhere are there, and not here. */
  async #tellWhosePath(name: string, input: object): Promise<void> {
    if (!this.isRemote || !PATHS.some((field) => Object.hasOwn(input, field))) return;
    await this.say(`The files of ${name.replace('.', ' ')} are on the gateway's machine.`);
  }

  /** Work that is not an operation of the gateway, with progress on standard error. */
  async during<T>(label: string, work: (report: (progress: Progress) => void) => Promise<T>): Promise<T> {
    const progress = startProgress(this.#progress, this.#runtime.stderr);
    progress.report({ label, doneBytes: 0, totalBytes: 0 });
    try {
      return await work((done) => {
        progress.report(done);
      });
    } finally {
      progress.stop();
    }
  }

  /** Prints the result: the document itself with `--json`, else what `render` makes of it. */
  async print(document: object, render: Render): Promise<void> {
    const { stdout } = this.#runtime;
    const columns = stdout.isTTY === true ? columnsOf(stdout) : Number.POSITIVE_INFINITY;
    const text = this.isJson
      ? JSON.stringify(document, undefined, 2)
      : await render(styleFor(stdout, this.#isColored), columns);
    this.#runtime.onPrint?.();
    if (text !== '') await write(stdout, text.endsWith('\n') ? text : `${text}\n`);
  }

  /** Lets the command end like a failure of this kind, though it has a result to print. */
  endAs(kind: ErrorKind): void {
    this.#runtime.exitCode = ERROR_KINDS[kind].exitCode;
  }

  /** A line for people while a command works; nothing with `--json` or `--quiet`. */
  async say(text: string): Promise<void> {
    if (!this.isJson && !this.#isQuiet) await write(this.#runtime.stderr, `${text}\n`);
  }

  /** Tells the likely next commands, on a terminal only: commands of the home's gateway. */
  async next(...commands: readonly string[]): Promise<void> {
    const { stderr, stdout } = this.#runtime;
    if (!this.#hasHome) return;
    if (this.isJson || this.#isQuiet || stderr.isTTY !== true || stdout.isTTY !== true || commands.length === 0) return;
    const style = styleFor(stderr, this.#isColored);
    await write(stderr, `${style.dim('next:')} ${commands.join(style.dim('  or  '))}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
  }
}

/** The home when neither a flag, a variable nor a preference names one. */
export function defaultHome(env: Runtime['env']): string {
  return path.join(absolute(env['XDG_DATA_HOME']) ?? path.join(userHomeOf(env), '.local', 'share'), 'sgw');
}

/** Whether colours are wanted, by flag, `NO_COLOR` and preference. */
function wantsColor(flags: { 'no-color'?: boolean }, env: Runtime['env'], preferences: Preferences): boolean {
  return flags['no-color'] !== true && (env['NO_COLOR'] ?? '') === '' && preferences.color !== 'never';
}

const storeBesideGateway = (): SgwError =>
  new SgwError('invalid', 'one-of', 'both --gateway and --store were given', {
    hint: 'Read the store from here without --gateway, or ask the gateway without --store.',
  });
