"""Judge pictures over HTTP, with one or several models."""

from common.errors import run
from common.logs import start_logging
from common.options import Parser
from service.options import add_service_options
from service.settings import settings_from


def parse_options():
    parser = Parser(__doc__)
    add_service_options(parser)
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    start_logging()
    settings = settings_from(options)
    from service.server import serve

    return serve(settings)


if __name__ == "__main__":
    run(main)
