# The functions of nixpkgs' lib that the flake uses, after their documentation.
let
  inherit (builtins)
    all
    any
    attrNames
    concatMap
    concatStringsSep
    elem
    filter
    foldl'
    fromTOML
    head
    isAttrs
    isBool
    isFunction
    isInt
    isList
    isPath
    isString
    listToAttrs
    map
    mapAttrs
    match
    pathExists
    readFile
    stringLength
    substring
    ;

  lib = {
    inherit mapAttrs;
    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: f: listToAttrs (map (name: lib.nameValuePair name (f name)) names);
    filterAttrs =
      keep: set:
      listToAttrs (
        map (name: lib.nameValuePair name set.${name}) (
          filter (name: keep name set.${name}) (attrNames set)
        )
      );
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    optional = condition: value: if condition then [ value ] else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    optionalString = condition: text: if condition then text else "";
    hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
    importTOML = path: fromTOML (readFile path);
    getExe' = package: name: "${package}/bin/${name}";
    getExe = package: lib.getExe' package package.meta.mainProgram;
    licenses.mit.shortName = "mit";
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];

    # Sets of files are lists of paths.
    fileset =
      let
        list = path: if isPath path then [ path ] else path;
      in
      {
        unions = concatMap list;
        toSource =
          { root, fileset }:
          let
            kept = map (
              path: if pathExists path then toString path else throw "fileset: ${toString path} is not there"
            ) (list fileset);
            keep =
              path: _:
              any (one: path == one || lib.hasPrefix "${one}/" path || lib.hasPrefix "${path}/" one) kept;
          in
          builtins.path {
            name = "source";
            path = root;
            filter = keep;
          };
      };

    literalExpression = text: { inherit text; };
    mkOption = attributes: { _type = "option"; } // attributes;
    mkEnableOption =
      what:
      lib.mkOption {
        type = lib.types.bool;
        default = false;
        description = "Whether to enable ${what}.";
      };
    mkIf = condition: content: {
      _type = "if";
      inherit condition content;
    };

    # A type says what a value may be, and how several definitions become one.
    types =
      let
        type = name: check: merge: { inherit name check merge; };
        one =
          place: values:
          if all (value: value == head values) values then head values else throw "${place} is defined twice";
        together = _: values: concatMap (value: value) values;
      in
      {
        anything = type "anything" (_: true) (
          place: values: if all isAttrs values then foldl' (a: b: a // b) { } values else one place values
        );
        bool = type "boolean" isBool one;
        str = type "string" isString one;
        lines = type "lines" isString (_: concatStringsSep "\n");
        ints.positive = type "positive integer" (value: isInt value && value > 0) one;
        strMatching =
          pattern: type "string like ${pattern}" (value: isString value && match pattern value != null) one;
        path = type "path" (
          value: isPath value || value ? outPath || (isString value && lib.hasPrefix "/" value)
        ) one;
        package = type "package" (value: value ? outPath) one;
        enum = values: type "one of ${toString values}" (value: elem value values) one;
        either = a: b: type "${a.name} or ${b.name}" (value: a.check value || b.check value) one;
        nullOr = inner: type "null or ${inner.name}" (value: value == null || inner.check value) one;
        # What the format can hold.
        toml = type "value of TOML" (
          value:
          isBool value
          || isInt value
          || builtins.isFloat value
          || isString value
          || isPath value
          || (isList value && all lib.types.toml.check value)
          || (isAttrs value && all (name: lib.types.toml.check value.${name}) (attrNames value))
        ) one;
        listOf =
          inner: type "list of ${inner.name}" (value: isList value && all inner.check value) together;
        attrsOf =
          inner:
          type "attributes of ${inner.name}" isAttrs (
            place: values:
            let
              given = name: concatMap flat (map (set: set.${name}) (filter (set: set ? ${name}) values));
              names = filter (name: given name != [ ]) (attrNames (foldl' (a: b: a // b) { } values));
            in
            lib.genAttrs names (name: define inner "${place}.${name}" (given name))
          );
        submodule =
          module:
          type "submodule" isAttrs (
            place: values:
            (lib.evalModules {
              modules = [ module ] ++ values;
              inherit place;
            }).config
          );
      };

    evalModules =
      {
        modules,
        specialArgs ? { },
        place ? "",
      }:
      let
        load =
          module:
          let
            called =
              if isFunction module then module (specialArgs // { inherit config options lib; }) else module;
            full =
              if called ? config || called ? options || called ? imports || called ? freeformType then
                called
              else
                { config = called; };
          in
          if
            removeAttrs full [
              "config"
              "freeformType"
              "imports"
              "key"
              "options"
            ] != { }
          then
            throw "a module has ${toString (attrNames full)}"
          else
            concatMap load (full.imports or [ ]) ++ [ full ];
        # A module with a key counts once, however often it is imported.
        loaded = foldl' (
          known: module:
          if module ? key && any (other: other.key or null == module.key) known then
            known
          else
            known ++ [ module ]
        ) [ ] (concatMap load modules);
        join =
          a: b:
          a
          // mapAttrs (
            name: value: if isOption value || !(a ? ${name}) then value else join a.${name} value
          ) b;
        options = foldl' join { } (map (module: module.options or { }) loaded);
        definitions = concatMap (module: push (module.config or { })) loaded;
        free = concatMap (module: lib.optional (module ? freeformType) module.freeformType) loaded;
        config = settle place options definitions free;
      in
      {
        inherit config options;
      };
  };

  isOption = value: value._type or "" == "option";

  # What of a definition holds.
  flat =
    value:
    if value._type or "" == "if" then
      (if value.condition then flat value.content else [ ])
    else
      [ value ];

  # The same for a set of options, whose names must be known before the condition is.
  push =
    set:
    if set._type or "" == "if" then
      map (mapAttrs (_: lib.mkIf set.condition)) (push set.content)
    else
      [ set ];

  define =
    type: place: definitions:
    let
      values = concatMap flat definitions;
      wrong = filter (value: !type.check value) values;
    in
    if wrong != [ ] then throw "${place} is not of the type ${type.name}" else type.merge place values;

  # Values for options, and in a free form for what is none.
  settle =
    place: options: definitions: free:
    let
      names = attrNames (foldl' (a: b: a // b) { } definitions);
      unknown = filter (name: !(options ? ${name})) names;
      given = name: map (set: set.${name}) (filter (set: set ? ${name}) definitions);
      value =
        name: option:
        let
          here = "${place}.${name}";
        in
        if !isOption option then
          settle here option (concatMap push (given name)) [ ]
        else if concatMap flat (given name) != [ ] then
          define option.type here (given name)
        else
          option.default or (throw "${here} is not defined");
    in
    if unknown != [ ] && free == [ ] then
      throw "there is no option ${place}.${head unknown}"
    else
      lib.genAttrs unknown (
        name:
        (define (head free) place (map (one: { ${name} = one; }) (concatMap flat (given name)))).${name}
      )
      // mapAttrs value options;
in
lib
