import { Args, Flags } from '@oclif/core';
import { flagsOf, modeFlag, nameFlag, SgwCommand, yesFlag } from '../../core/cli/index.ts';
import { claimFields, claimGateway } from '../../core/cli/service/index.ts';

export default class ServiceActivate extends SgwCommand {
  static override summary = 'Claim a gateway that waits with an activation key.';
  static override description =
    'Takes the activation key that `sgw activate --service` shows at the gateway to the service, shows what the gateway told of itself and the ' +
    'fingerprint of its key, to be compared with what it shows, and asks. The gateway then belongs to the account of the access key.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> 0F2KD-9XQ4T-JT3RM-N1SVB-7WZ5C --name lab --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> 0F2KD-9XQ4T-JT3RM-N1SVB-7WZ5C --yes --json',
  ];
  static override args = {
    key: Args.string({ required: true, description: 'Activation key, as the gateway shows it.', ignoreStdin: true }),
  };
  static override flags = flagsOf('service activate', {
    name: nameFlag({ description: 'Name of the gateway. [default: the one that it proposes]' }),
    mode: modeFlag({ description: 'Its mode, which stays. [default: the one that it proposes]' }),
    region: Flags.string({ description: 'Region of the gateway. [default: that of the service]', helpValue: 'REGION' }),
    yes: yesFlag,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceActivate);
    await using session = this.session(flags);
    const { name, mode, region, yes: isConfirmed } = flags;
    const result = await claimGateway(session, { activationKey: args.key, name, mode, region, isConfirmed });
    await session.print(result, (style) => claimFields(result, style));
    await session.next(`sgw service gateway show ${result.gatewayId}`);
  }
}
