"""What an app's directory is: how it is built, started and asked, as its files show it.

Looked for in this order; the first that is there counts:
go.mod · pom.xml · build.gradle · pyproject.toml, setup.py, requirements.txt · package.json
that starts something · a Makefile · a static site (with package.json: one that is built)

Source: Go's "Compile packages" (go help build); Maven's "Configuring for Reproducible Builds";
npm's documentation, "package.json".
"""

from __future__ import annotations

import re
from pathlib import Path

from ovenbird.domain.beginnings import Beginning, Piece, Started, package_name, started
from ovenbird.domain.errors import NotFound
from ovenbird.domain.packages import BuildKind, BuildSpec
from ovenbird.packaging.building import hints, python_apps
from ovenbird.packaging.building.builders import LOCKS

NODE_PORT, JAVA_PORT, GO_PORT, SITE_PORT = 3000, 8080, 8080, 80
SITES = (".", "public", "site", "www", "htdocs", "html")
BUILT_SITES = ("dist", "build", "out", "public")
KNOWN = "pyproject.toml, requirements.txt, package.json, go.mod, pom.xml, Makefile, index.html"
_COMPILES = re.compile(r"\$[({]C(?:C|XX)[)}]|\b(?:gcc|g\+\+|clang|go build|cargo|rustc)\b")
_NGINX = "nginx-of-the-site.conf"  # written by the build
_JAR = r"""mkdir -p dist{place}
for jar in {found}; do
  case "$jar" in
    *-sources.jar|*-javadoc.jar|*-plain.jar|*-tests.jar|*/original-*) ;;
    *) install -m 644 "$jar" dist{place}/{name}.jar ;;
  esac
done
test -e dist{place}/{name}.jar"""
# Java takes its home from the account's, which a build's account does not have.
_MAVEN = """{program} --batch-mode --quiet -DskipTests -Duser.home="$HOME" \\
  -Dproject.build.outputTimestamp="$SOURCE_DATE_EPOCH" package
"""
_GRADLE = """GRADLE_USER_HOME="$HOME/.gradle" {program} --no-daemon --quiet assemble
"""
_SITE = f"""cat > {_NGINX} <<'END'
server {{{{
  listen {{port}} default_server;
  root {{root}};
  location = {{health}} {{{{ return 200 "ok\\n"; }}}}
}}}}
END"""


def recognize(top: Path) -> Beginning:
    """Return how an app's manifest begins.

    Args:
        top: The app's directory; nothing in it is run or changed.

    Raises:
        NotFound: There is nothing in it that is known.
    """
    for look in (_go, _java, python_apps.recognize, _node, _make, _site):
        if (found := look(top)) is not None:
            return found
    raise NotFound(
        f"Nothing in `{top}` says how the app is built",
        hint=f"Known are {KNOWN}; otherwise write ovenbird.yaml by hand",
    )


def _go(top: Path) -> Beginning | None:
    module = re.search(r"^module\s+(\S+)", hints.text(top / "go.mod"), re.MULTILINE)
    if module is None:
        return None
    name = package_name(re.sub(r"/v\d+$", "", module[1]))
    commands = [path.parent for path in sorted(top.glob("cmd/*/main.go"))]
    own = [path for path in commands if path.name == name] or commands
    package = "." if (top / "main.go").is_file() or not own else f"./{own[0].relative_to(top)}"
    port = hints.said_port(top) or GO_PORT
    target = f"build/{name}"
    return Beginning(
        name=name,
        found="go.mod",
        build=BuildSpec(
            kind=BuildKind.BINARY,
            command="CGO_ENABLED=0 go build -trimpath -buildvcs=false "
            f"-ldflags=-buildid= -o {target} {package}",
            target=target,
            into=f"/usr/bin/{name}",
        ),
        contents=(Piece(origin=f"dist/usr/bin/{name}", destination=f"/usr/bin/{name}"),),
        service=Started(command=f"/usr/bin/{name}", environment={"PORT": str(port)}),
        port=port,
        architecture="amd64",
    )


def _java(top: Path) -> Beginning | None:
    pom = hints.text(top / "pom.xml")
    gradle = next((n for n in ("build.gradle", "build.gradle.kts") if (top / n).is_file()), "")
    if not pom and not gradle:
        return None
    # What stands in these is about others; what is left is about the project itself.
    own = re.sub(
        r"<(parent|dependencies|build|profiles|plugins|dependencyManagement)>.*?</\1>",
        "",
        pom,
        flags=re.DOTALL,
    )
    said = re.search(r"<artifactId>\s*([^<\s]+)\s*</artifactId>", own)
    name = package_name(said[1] if said else top.name)
    place, port = f"/opt/{name}", hints.said_port(top) or JAVA_PORT
    wrapper, plain = ("./mvnw", "mvn") if pom else ("./gradlew", "gradle")
    program = wrapper if (top / wrapper).is_file() else plain
    builds = (_MAVEN if pom else _GRADLE).format(program=program)
    jars = "target/*.jar" if pom else "build/libs/*.jar"
    about = re.search(r"<description>\s*([^<]+?)\s*</description>", own)
    return Beginning(
        name=name,
        found="pom.xml" if pom else gradle,
        build=BuildSpec(command=builds + _JAR.format(place=place, found=jars, name=name)),
        contents=(Piece(origin=f"dist{place}/", destination=place),),
        service=Started(
            command=f"/usr/bin/java -jar {place}/{name}.jar",
            environment={"PORT": str(port), "SERVER_PORT": str(port)},
        ),
        port=port,
        description=hints.word(about[1]) if about else "",
        depends=("default-jre-headless",),
        notes=("The jar must be one that runs on its own: with its main class and dependencies",),
    )


def _node(top: Path) -> Beginning | None:
    raw = hints.json_of(top / "package.json")
    scripts = hints.table(raw, "scripts")
    main = next((n for n in ("server.js", "index.js", "app.js") if (top / n).is_file()), "")
    line = hints.start_line(top) or hints.word(scripts.get("start"))
    if line.split()[:1] in (["npm"], ["yarn"], ["pnpm"]):
        line = hints.word(scripts.get("start"))
    main = hints.word(raw.get("main")) or main
    if not raw or not (line or (main and (top / main).is_file())):
        return None
    name = package_name(hints.word(raw.get("name")) or top.name)
    place, port = f"/opt/{name}", hints.said_port(top) or NODE_PORT

    def program(word: str) -> str:
        own = {"node": "/usr/bin/node", "npx": "/usr/bin/npx"}
        return own.get(word, word if word.startswith("/") else f"{place}/node_modules/.bin/{word}")

    service = started(line or f"node {main}", program=program, port=port, directory=place)
    environment = {"NODE_ENV": "production", "PORT": str(port), **service.environment}
    return Beginning(
        name=name,
        found="package.json",
        build=BuildSpec(kind=BuildKind.NODE, command=_node_build(top, scripts), into=place),
        contents=(Piece(origin=f"dist{place}/", destination=place),),
        service=Started(
            command=service.command, directory=service.directory, environment=environment
        ),
        port=port,
        description=hints.word(raw.get("description")),
        homepage=hints.word(raw.get("homepage")),
        license=hints.word(raw.get("license")),
        maintainer=_node_author(raw.get("author")),
        architecture="amd64",
        depends=("nodejs",),
        notes=() if _is_locked(top) else (_UNLOCKED,),
    )


_UNLOCKED = "Without package-lock.json two builds of one commit may differ: commit one"


def _is_locked(top: Path) -> bool:
    return any((top / name).is_file() for name in LOCKS)


def _node_build(top: Path, scripts: dict[str, object]) -> str:
    """Return what runs before the production modules are installed: with all modules."""
    if "build" not in scripts:
        return ""
    install = "npm ci" if _is_locked(top) else "npm install --no-package-lock"
    return f"{install} && npm run build"


def _node_author(raw: object) -> str:
    if isinstance(raw, dict):
        name, email = hints.word(raw.get("name")), hints.word(raw.get("email"))
        return f"{name} <{email}>" if name and email else ""
    found = re.match(r"[^<>()]+ <[^<>@\s]+@[^<>\s]+>", hints.word(raw))
    return found[0] if found else ""


def _make(top: Path) -> Beginning | None:
    targets = hints.make_targets(top)
    if not targets:
        return None
    name = package_name(top.name)
    place, port = f"/opt/{name}", hints.said_port(top) or JAVA_PORT
    build, contents = BuildSpec(kind=BuildKind.MAKE), Piece(origin="dist/", destination=place)
    notes: tuple[str, ...] = ()
    programs = f"{place}/bin"
    if "install" in targets and "DESTDIR" in hints.makefile(top):
        line = 'make && make install DESTDIR="$PWD/dist" prefix=/usr PREFIX=/usr'
        build, contents = BuildSpec(command=line), Piece(origin="dist/usr/", destination="/usr")
        programs = "/usr/bin"
    elif chosen := next((t for t in ("dist", "build", "all") if t in targets), ""):
        build = BuildSpec(kind=BuildKind.MAKE, target=chosen)
    if programs != "/usr/bin":
        made = f"make {build.target}".strip()
        notes = (f"What is packaged must lie in `dist/` after `{made}`",)
    line = hints.start_line(top) or name
    return Beginning(
        name=name,
        found="Makefile",
        build=build,
        contents=(contents,),
        service=started(
            line,
            program=lambda word: word if word.startswith("/") else f"{programs}/{word}",
            port=port,
        ),
        port=port,
        architecture="amd64" if _COMPILES.search(hints.makefile(top)) else "all",
        notes=(*notes, "Look at `architecture` and `depends`: a Makefile does not say them"),
    )


def _site(top: Path) -> Beginning | None:
    raw = hints.json_of(top / "package.json")
    scripts = hints.table(raw, "scripts")
    notes: tuple[str, ...] = ()
    builds = _node_build(top, scripts)
    if builds:
        folder = BUILT_SITES[0]
        notes = (
            f"The site is taken from `{folder}/`: mend it if `npm run build` writes elsewhere",
        )
        builds += "\n"
    else:
        named = next((name for name in SITES if (top / name / "index.html").is_file()), "")
        if not named:
            return None
        folder = named
    name = package_name(hints.word(raw.get("name")) or top.name)
    root = f"/srv/{name}"
    configuration = _SITE.format(port=SITE_PORT, root=root, health="/healthz")
    return Beginning(
        name=name,
        found="package.json" if builds else f"{folder}/index.html".removeprefix("./"),
        build=BuildSpec(command=builds + configuration),
        contents=(
            *_site_pieces(top, folder, root),
            Piece(origin=_NGINX, destination=f"/etc/nginx/conf.d/{name}.conf", kind="config"),
        ),
        service=None,
        port=SITE_PORT,
        description=hints.word(raw.get("description")),
        depends=("nginx",),
        recipe=(
            "apt-get install -y --no-install-recommends nginx",
            "rm -f /etc/nginx/sites-enabled/default",
        ),
        notes=notes,
    )


def _site_pieces(top: Path, folder: str, root: str) -> tuple[Piece, ...]:
    """Return the site's contents; in the repository's root one by one, without what is no page."""
    if folder != ".":
        return (Piece(origin=f"{folder}/", destination=root),)
    pieces = []
    for path in sorted(top.iterdir()):
        plain = not path.name.startswith(".") and " " not in path.name
        if plain and (path.is_dir() or path.suffix not in {".md", ".yaml", ".yml", ""}):
            ending = "/" if path.is_dir() else ""
            pieces.append(Piece(origin=path.name + ending, destination=f"{root}/{path.name}"))
    return tuple(pieces)
