/**
 * `sgw service run` as a process of its own, for stories over the real program: started, killed and started again where it was,
 * its customers, and gateways that are activated at it.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:https';
import { fileURLToPath } from 'node:url';
import type { ServiceReadyDocument } from '../../src/core/localapi/schemas.ts';
import { ended, until, type HomeRig } from '../cli/gateway-rig.ts';

const READY_WITHIN_MS = 60_000;
const ACTIVATION_KEY = /([0-9A-Z]{5}-){4}[0-9A-Z]{5}/;
const KILLER = fileURLToPath(new URL('./killed-at-write-child.ts', import.meta.url));

export interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface Customer extends Credentials {
  readonly accountId: string;
}

export interface ServiceOptions {
  readonly flags?: readonly string[];
  /** The process kills itself at a write to its store that this file tells: see killed-at-write-child.ts. */
  readonly killFile?: string;
}

export class ServiceProcess {
  readonly ready: ServiceReadyDocument;
  /** Of the service's CA, PEM. */
  readonly ca: string;
  readonly #rig: HomeRig;
  readonly #child: ChildProcess;
  readonly #options: ServiceOptions;

  private constructor(
    rig: HomeRig,
    child: ChildProcess,
    options: ServiceOptions,
    about: { readonly ready: ServiceReadyDocument; readonly ca: string },
  ) {
    this.#rig = rig;
    this.#child = child;
    this.#options = options;
    this.ready = about.ready;
    this.ca = about.ca;
  }

  /** Listens anywhere on loopback, unless it is told where. */
  static async start(
    rig: HomeRig,
    options: ServiceOptions = {},
    places = ['127.0.0.1:0', '127.0.0.1:0'],
  ): Promise<ServiceProcess> {
    const { flags = [], killFile } = options;
    const [listen = '', gatewayListen = ''] = places;
    const where = ['--listen', listen, '--gateway-listen', gatewayListen];
    const env = killFile === undefined ? {} : { NODE_OPTIONS: `--import ${KILLER}`, SGW_TEST_KILL: killFile };
    const child = rig.spawn(['service', 'run', ...where, '--json', ...flags], env);
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (part: Buffer) => (stdout += part.toString('utf8')));
    child.stderr?.on('data', (part: Buffer) => (stderr += part.toString('utf8')));
    await until('the service is ready', () => stdout.includes('\n') || hasEnded(child), READY_WITHIN_MS);
    if (hasEnded(child)) throw new Error(`the service ended: ${stdout}${stderr}`);
    const ready = JSON.parse(stdout) as ServiceReadyDocument;
    return new ServiceProcess(rig, child, options, { ready, ca: await authorityOf(ready.url) });
  }

  get isRunning(): boolean {
    return !hasEnded(this.#child);
  }

  async ended(): Promise<void> {
    if (this.isRunning) await once(this.#child, 'exit', { signal: AbortSignal.timeout(READY_WITHIN_MS) });
  }

  async kill(): Promise<void> {
    if (!this.isRunning) return;
    const gone = once(this.#child, 'exit');
    process.kill(this.ready.pid, 'SIGKILL');
    await gone;
  }

  /** After its end: another process, where this one was. */
  async again(): Promise<ServiceProcess> {
    const { url, gatewayAddress } = this.ready;
    return await ServiceProcess.start(this.#rig, this.#options, [new URL(url).host, gatewayAddress]);
  }

  /** Variables by which `sgw` names the service and who asks. */
  as({ accessKeyId, secretAccessKey }: Credentials): Record<string, string> {
    const { url, caFingerprint } = this.ready;
    return {
      ...{ SGW_SERVICE: url, SGW_SERVICE_FINGERPRINT: caFingerprint },
      ...{ SGW_ACCESS_KEY_ID: accessKeyId, SGW_SECRET_ACCESS_KEY: secretAccessKey },
    };
  }

  /** An account with a key, made by root: of the first start alone, which was told root's key. */
  async customer(name: string): Promise<Customer> {
    const root = this.as(this.ready.rootKey ?? { accessKeyId: '', secretAccessKey: '' });
    const { accountId } = await this.#rig.okWith(root, 'service', 'account', 'create', name);
    const key = await this.#rig.okWith(root, 'service', 'key', 'create', name, '--account', String(accountId));
    const { accessKeyId, secretAccessKey } = key as unknown as Credentials;
    return { accountId: String(accountId), accessKeyId, secretAccessKey };
  }

  /** How the machine of a gateway names the service. */
  get place(): string[] {
    return ['--service', this.ready.url, '--service-fingerprint', this.ready.caFingerprint];
  }

  /** Variables of Debian's `aws`, with a home that has nothing. */
  aws(who: Credentials, home: string, caFile: string): Record<string, string> {
    return {
      ...{ PATH: '/usr/bin:/bin', HOME: home, AWS_DEFAULT_REGION: this.ready.region, AWS_PAGER: '' },
      ...{ AWS_ACCESS_KEY_ID: who.accessKeyId, AWS_SECRET_ACCESS_KEY: who.secretAccessKey },
      ...{ AWS_CA_BUNDLE: caFile, AWS_EC2_METADATA_DISABLED: 'true' },
    };
  }
}

/** A machine that shows its activation key, and waits to be claimed. */
export class ShownDevice {
  readonly activationKey: string;
  readonly #ended: ReturnType<typeof ended>;

  private constructor(activationKey: string, end: ReturnType<typeof ended>) {
    this.activationKey = activationKey;
    this.#ended = end;
  }

  static async show(rig: HomeRig, service: ServiceProcess): Promise<ShownDevice> {
    const rest = ['--page', 'off', '--yes', '--timeout', '120s', '--json'];
    const child = rig.spawn(['activate', ...service.place, ...rest]);
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (part: Buffer) => (said += part.toString('utf8')));
    const end = ended(child);
    await until('the key is shown', () => ACTIVATION_KEY.test(said) || hasEnded(child), READY_WITHIN_MS);
    const activationKey = ACTIVATION_KEY.exec(said)?.[0];
    if (activationKey === undefined) throw new Error(`no key was shown: ${said}`);
    return new ShownDevice(activationKey, end);
  }

  /** What `sgw activate` prints when somebody has claimed it. */
  async activated(): Promise<Record<string, unknown>> {
    const { exitCode, stdout, stderr } = await this.#ended;
    if (exitCode !== 0) throw new Error(`activate ended with ${String(exitCode)}: ${stdout}${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** The certificate of a server's CA, as anybody gets it. */
export async function authorityOf(url: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    get(`${url}/ca.pem`, { rejectUnauthorized: false, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('end', () => {
        resolve(text);
      });
    }).on('error', reject);
  });
}
